"""Which checkpoints belong to a spec: the hash of its training-relevant part."""

from __future__ import annotations

import dataclasses
import json

from trainer.contract import TrainingSpec
from trainer.contract.fields import encode
from trainer.contract.objects import sha256

#: Where, by how many and for how long does not change what is trained: a retry may use fewer workers, a larger machine
#: more threads. (With another group the booster is as good, not the same bytes; the lineage says so.)
IRRELEVANT = frozenset({"job_id", "output", "limits", "num_workers", "threads", "resume"})
SNAPSHOT_IRRELEVANT = frozenset({"created_at", "bytes_scanned"})


def spec_sha256(spec: TrainingSpec) -> str:
    """Hexadecimal SHA-256 over every field of ``spec`` that decides what is trained."""
    body = {f.name: encode(getattr(spec, f.name)) for f in dataclasses.fields(spec) if f.name not in IRRELEVANT}
    body["snapshot"] = {name: value for name, value in body["snapshot"].items() if name not in SNAPSHOT_IRRELEVANT}
    return sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
