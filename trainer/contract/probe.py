"""What is tried before anything is trained: by a pod (:class:`ProbeSpec`, for ``trainer.probe``), and by Airflow."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from trainer.contract.fields import Document, require
from trainer.contract.objects import ObjectExistsError, ObjectStore
from trainer.contract.outcome import FailureReason, TrainingFailure
from trainer.contract.spec import JOB_ID, TABLE, Device, Engine, OutputUris


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSpec(Document):
    """Do once what training does all the time: load the engine, create objects, read a table.

    ``table`` is of the shape of :class:`SnapshotRef` and has ``rows`` rows of split ``split``. Objects are created in
    the folder :data:`FOLDER` of both ``output`` URIs, where the pod may not remove them: whoever asked for the probe
    does.
    """

    KIND: ClassVar[str] = "probe-spec"

    job_id: str
    model_type: str
    engine: Engine
    device: Device
    table: str
    split: str
    rows: int
    output: OutputUris

    def __post_init__(self) -> None:
        require(bool(JOB_ID.fullmatch(self.job_id)), "job_id", f"is {self.job_id!r}; a short DNS label")
        require(bool(TABLE.fullmatch(self.table)), "table", f"is {self.table!r}; expected project.dataset.table")
        require(self.rows >= 0, "rows", f"is {self.rows}; 0 or more")


#: Where objects that are only tried go, below a run's folder.
FOLDER = "preflight"


def create_once(store: ObjectStore) -> str:
    """Create an object in :data:`FOLDER`, find that it cannot be created again with other content, and read it.

    Returns its name, for whoever may remove it.

    Raises:
        TrainingFailure: ``ConfigInvalid`` when the store let a second writer replace the object.
        OSError: what the store refused.
    """
    name = f"{FOLDER}/{uuid.uuid4().hex}"
    store.create(name, b"first")
    try:
        store.create(name, b"second")
    except ObjectExistsError:
        pass
    else:
        message = f"{store.uri}: an object was replaced although it may only be created; is this an object store?"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    if store.read(name) != b"first":
        raise TrainingFailure(
            FailureReason.CONFIG_INVALID, f"{store.uri}: an object reads otherwise than it was written"
        )
    return name
