"""What a pod is to try before anything is trained: :class:`ProbeSpec`, for ``trainer.probe``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainer.contract.fields import Document, require
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
