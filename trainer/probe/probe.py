"""What is tried: the engine on its device, create-only objects, a read session. Each finding is a line for people."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from trainer.boosters import engine_for
from trainer.contract import FailureReason, ObjectExistsError, TrainingFailure
from trainer.contract.probe import FOLDER, ProbeSpec
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
    create_once(spec.output.checkpoints)
    create_once(spec.output.artifacts)
    yield "objects are created once and read, below checkpoints and artifacts"
    found = read_table(spec.table, ["shard"], split_condition(spec.split)).num_rows
    if found != spec.rows:
        message = f"{spec.table}: {found} rows of split {spec.split!r} were read, {spec.rows} were written"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    yield f"{found} rows read over the Storage Read API"


def create_once(uri: str) -> None:
    """Create an object below ``uri``, read it, and find that it cannot be created again with other content.

    Raises:
        TrainingFailure: what the storage refused; ``ConfigInvalid`` when it let a second writer replace the object.
    """
    store, name = open_store(uri), f"{FOLDER}/{uuid.uuid4().hex}"
    with storage_errors(uri):
        store.create(name, b"first")
        try:
            store.create(name, b"second")
        except ObjectExistsError:
            pass
        else:
            message = f"{uri}: an object was replaced although it may only be created; is this an object store?"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        if store.read(name) != b"first":
            raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{uri}: an object reads otherwise than it was written")
