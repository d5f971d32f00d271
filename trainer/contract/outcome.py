"""How a job ended: :class:`Outcome` in the termination log and in the bucket, the exit code in ``sysexits`` terms."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from trainer.contract.fields import Document, require

#: Kubernetes keeps at most this many bytes of a termination message.
TERMINATION_MESSAGE_BYTES = 4096


class FailureReason(enum.StrEnum):
    """Why a job failed; what follows from it is decided elsewhere, from this and the budgets spent."""

    WORKERS_LOST = "WorkersLost"
    CHIEF_LOST = "ChiefLost"
    NETWORK_PARTITION = "NetworkPartition"
    OUT_OF_MEMORY = "OutOfMemory"
    RESOURCE_EXHAUSTED = "ResourceExhausted"
    NETWORK_TIMEOUT = "NetworkTimeout"
    STORAGE_FULL = "StorageFull"
    PREEMPTED = "Preempted"
    DATA_INVALID = "DataInvalid"
    PERMISSION_DENIED = "PermissionDenied"
    CONFIG_INVALID = "ConfigInvalid"
    BUG = "Bug"


#: The exit code that says the same. 65, 77 and 78 fail a Kubernetes Job at once (``podFailurePolicy``).
EXIT_CODES: Mapping[FailureReason, int] = {
    FailureReason.WORKERS_LOST: os.EX_UNAVAILABLE,
    FailureReason.CHIEF_LOST: os.EX_UNAVAILABLE,
    FailureReason.NETWORK_PARTITION: os.EX_UNAVAILABLE,
    FailureReason.OUT_OF_MEMORY: os.EX_OSERR,
    FailureReason.RESOURCE_EXHAUSTED: os.EX_OSERR,
    FailureReason.NETWORK_TIMEOUT: os.EX_UNAVAILABLE,
    FailureReason.STORAGE_FULL: os.EX_IOERR,
    FailureReason.PREEMPTED: os.EX_TEMPFAIL,
    FailureReason.DATA_INVALID: os.EX_DATAERR,
    FailureReason.PERMISSION_DENIED: os.EX_NOPERM,
    FailureReason.CONFIG_INVALID: os.EX_CONFIG,
    FailureReason.BUG: os.EX_SOFTWARE,
}


class TrainingFailure(Exception):
    """A job cannot go on. ``reason`` decides what follows; the message names the thing and the fix."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome(Document):
    """The last word of a pod. ``reason`` is ``None`` exactly when it succeeded.

    ``last_round`` is the newest committed boosting round (0: none), ``manifest_uri`` its manifest, ``result_uri`` the
    document that a finished job wrote.
    """

    KIND: ClassVar[str] = "outcome"

    job_id: str
    reason: FailureReason | None = None
    message: str = ""
    last_round: int = 0
    manifest_uri: str = ""
    result_uri: str = ""

    def __post_init__(self) -> None:
        require(self.last_round >= 0, "last_round", f"is {self.last_round}; 0 or more")

    @property
    def succeeded(self) -> bool:
        """Whether the job did what its spec says."""
        return self.reason is None

    @property
    def exit_code(self) -> int:
        """0, or the ``sysexits`` code of the reason."""
        return os.EX_OK if self.reason is None else EXIT_CODES[self.reason]

    def termination_message(self) -> str:
        """The outcome as JSON in at most 4096 bytes; a longer message is cut in the middle and says so."""
        text = self.to_json()
        if len(text.encode()) <= TERMINATION_MESSAGE_BYTES:
            return text
        # Escapes make JSON longer than the message, so halve what is kept until it fits.
        keep = TERMINATION_MESSAGE_BYTES // 2
        while True:
            cut = self.message[: keep // 2] + " [...] " + self.message[-(keep // 2) :]
            text = Outcome(
                job_id=self.job_id,
                reason=self.reason,
                message=cut,
                last_round=self.last_round,
                manifest_uri=self.manifest_uri,
                result_uri=self.result_uri,
            ).to_json()
            if len(text.encode()) <= TERMINATION_MESSAGE_BYTES:
                return text
            require(keep > 8, "manifest_uri", "is too long for a termination message")
            keep //= 2
