"""The workers as the driver sees them: :class:`Group`, the same for one process next door and for ten machines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trainer.contract import FailureReason, TrainingFailure

#: Called with a worker's index and what its rank reports while a command runs.
Progress = Callable[[int, Mapping[str, Any]], None]
#: Called with the index of a worker that was told to stop, and the seconds that it can still give.
Leaving = Callable[[int, float], None]


def ignore_progress(_worker: int, _report: Mapping[str, Any]) -> None:
    """The progress of a command that has none worth showing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command to the rank process of every worker named in ``arguments``, to be answered within ``timeout_s``.

    ``stall_s`` says for how long no rank may be without progress (0: reports are not expected); it is asked again and
    again, because how long a round takes is known better while it runs.
    """

    name: str
    arguments: Mapping[int, Mapping[str, Any]]
    timeout_s: float
    payload: bytes = b""
    stall_s: Callable[[], float] = float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What one rank answered."""

    fields: Mapping[str, Any]
    payload: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A worker that is ready: its index, and the host that its rank's own connections use."""

    worker: int
    host: str


class GroupLostError(Exception):
    """The group cannot go on as it is. ``reason`` says why, ``lost`` which workers; all rank processes are dead."""

    def __init__(self, reason: FailureReason, message: str, lost: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.lost = tuple(lost)


class SilentError(TrainingFailure):
    """A worker has not been heard of for too long: it hangs, or the network to it is cut."""

    def __init__(self, silent_s: float) -> None:
        super().__init__(FailureReason.NETWORK_PARTITION, f"it has not been heard of for {silent_s:.0f} s")


class Group(Protocol):
    """Workers with a rank process each.

    Every method has a deadline, and every failure of a command ends all rank processes first: peers of a dead rank
    may otherwise wait for it for ever (LightGBM does).
    """

    #: The host that workers reach the chief at, for a tracker to listen on.
    host: str

    async def gather(self, count: int, timeout_s: float) -> list[Member]:
        """Wait for ``count`` workers; returns them ordered by index.

        Raises:
            TrainingFailure: they are not all there in time; the message names the missing ones.
        """
        ...

    def tell_leaving(self, tell: Leaving) -> None:
        """Let ``tell`` know of each worker that was told to stop."""
        ...

    def live(self) -> frozenset[int]:
        """The workers that are there now, are heard of and will stay."""
        ...

    def silent(self) -> frozenset[int]:
        """The workers whose connection stands but which are not heard of."""
        ...

    async def enlist(self, workers: Collection[int]) -> list[Member]:
        """End what is left of earlier groups at ``workers``; returns those that answer, ordered by index."""
        ...

    async def cut(self, segment: int) -> int | None:
        """End the running ``segment`` after as few rounds as all ranks can agree on; how many that makes.

        None when it cannot be cut; then it goes on.
        """
        ...

    async def dismiss(self, workers: Collection[int]) -> None:
        """Let ``workers``, which were told to stop, go before their time is up."""
        ...

    async def call(self, command: Command, on_progress: Progress = ignore_progress) -> dict[int, Reply]:
        """Give ``command`` to its workers at once and wait for all replies, by worker index.

        Raises:
            GroupLostError: a worker or its rank process is gone, or did not answer in time.
            TrainingFailure: a rank says why the job cannot go on.
        """
        ...

    async def dissolve(self) -> None:
        """Kill every rank process; returns when it is done or its deadline has passed. The workers stay."""
        ...

    async def close(self, *, finished: bool) -> None:
        """Let the workers go: with success when the job is ``finished``, otherwise as having lost their chief."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """One worker's share in the failure of a command."""

    worker: int
    error: BaseException


#: What a failure of several workers at once is due to: a reason earlier in this list caused those after it.
PRECEDENCE = (
    FailureReason.CONFIG_INVALID,
    FailureReason.DATA_INVALID,
    FailureReason.PERMISSION_DENIED,
    FailureReason.STORAGE_FULL,
    FailureReason.OUT_OF_MEMORY,
    FailureReason.WORKERS_LOST,
    SilentError,
    FailureReason.NETWORK_TIMEOUT,
    FailureReason.NETWORK_PARTITION,
    FailureReason.BUG,
)
#: Reasons that end the group, and those of them that name the workers that are gone.
GROUP_ENDS = (FailureReason.OUT_OF_MEMORY, FailureReason.WORKERS_LOST, FailureReason.NETWORK_PARTITION)
NAMES_THE_LOST = PRECEDENCE[: PRECEDENCE.index(SilentError) + 1]


@dataclass
class Verdict:
    """Collects failures until the cause is clear. Peers of a dead rank fail too, often before its death is noticed."""

    command: str
    failures: dict[int, Failure] = field(default_factory=dict)

    def add(self, worker: int, error: BaseException) -> None:
        """``worker`` failed with ``error``; of several failures of one worker the one that explains more is kept."""
        known = self.failures.get(worker)
        if known is None or precedence(error) < precedence(known.error):
            self.failures[worker] = Failure(worker, error)

    @property
    def is_clear(self) -> bool:
        """Whether some failure needs no other to explain it."""
        return any(cause_of(f.error) in NAMES_THE_LOST for f in self.failures.values())

    def error(self) -> Exception:
        """The exception that names the cause, in the words of the workers that failed by it."""
        first = min(precedence(f.error) for f in self.failures.values())
        same = sorted((f for f in self.failures.values() if precedence(f.error) == first), key=lambda f: f.worker)
        reason = getattr(same[0].error, "reason", FailureReason.BUG)
        message = "; ".join(f"worker {f.worker} during {self.command}: {_shown(f.error)}" for f in same)
        if reason in GROUP_ENDS:
            return GroupLostError(reason, message, [f.worker for f in same if cause_of(f.error) in NAMES_THE_LOST])
        return TrainingFailure(reason, message)


def naming(error: GroupLostError, silent: Collection[int]) -> GroupLostError:
    """``error`` with the ``silent`` workers as its cause, where it names none.

    Peers may notice a silence before the chief does; then all that is known is that they lost somebody.
    """
    if error.lost or not silent:
        return error
    lost = sorted(silent)
    return GroupLostError(error.reason, f"{error}; nothing is heard of workers {', '.join(map(str, lost))}", lost)


def cause_of(error: BaseException) -> FailureReason | type[SilentError]:
    """The entry of :data:`PRECEDENCE` that ``error`` counts as."""
    if isinstance(error, SilentError):
        return SilentError
    reason = getattr(error, "reason", FailureReason.BUG)
    return reason if reason in PRECEDENCE else FailureReason.BUG


def precedence(error: BaseException) -> int:
    """The lower, the more ``error`` explains."""
    return PRECEDENCE.index(cause_of(error))


def _shown(error: BaseException) -> str:
    return str(error) if isinstance(error, TrainingFailure) else f"{type(error).__name__}: {error}"
