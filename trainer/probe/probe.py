"""What is tried: the engine on its device, create-only objects, a read session. Each finding is a line for people."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.boosters import engine_for
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.probe import ProbeSpec, create_once
from trainer.data import read_table
from trainer.data.reading import split_condition
from trainer.storage import open_store, storage_errors


def probe(spec: ProbeSpec) -> Iterator[str]:
    """Try everything, in the order in which training would meet it.

    Raises:
        TrainingFailure: the first thing that fails, with the reason that training would end with.
    """
    engine_for(spec.engine).check_device(spec.device)
    yield f"{spec.engine.value} loads, on device {spec.device.value}"
    for uri in (spec.output.checkpoints, spec.output.artifacts):
        with storage_errors(uri):
            create_once(open_store(uri))
    yield "objects are created once and read, below checkpoints and artifacts"
    found = read_table(spec.table, ["shard"], split_condition(spec.split)).num_rows
    if found != spec.rows:
        message = f"{spec.table}: {found} rows of split {spec.split!r} were read, {spec.rows} were written"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    yield f"{found} rows read over the Storage Read API"
