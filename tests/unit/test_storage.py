"""Calls to a bucket that fail for the moment are tried again within a budget; errors become reasons."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from trainer.contract import FailureReason, ObjectExistsError, ObjectStore, TrainingFailure
from trainer.storage import RetryBudget, RetryingFileSystem, reason_of, storage_errors


class HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP {code}")
        self.code = code


@dataclass
class Bucket:
    """A file system in memory; ``fails`` is asked before each call, ``loses`` after it: the answer is lost."""

    fails: Callable[[], Exception | None] = lambda: None
    loses: Callable[[], Exception | None] = lambda: None
    objects: dict[str, bytes] = field(default_factory=dict)
    calls: int = 0
    protocol: str = "gs"

    def _call(self, do: Callable[[], Any]) -> Any:
        self.calls += 1
        if error := self.fails():
            raise error
        result = do()
        if error := self.loses():
            raise error
        return result

    def cat_file(self, path: str) -> bytes:
        def read() -> bytes:
            if path not in self.objects:
                raise FileNotFoundError(path)
            return self.objects[path]

        return self._call(read)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        def write() -> None:
            if mode == "create" and path in self.objects:
                raise FileExistsError(path)
            self.objects[path] = value

        self._call(write)

    def find(self, path: str) -> list[str]:
        return self._call(lambda: [name for name in self.objects if name.startswith(path)])

    def exists(self, path: str) -> bool:
        return self._call(lambda: path in self.objects)

    def rm_file(self, path: str) -> None:
        def remove() -> None:
            if path not in self.objects:
                raise FileNotFoundError(path)
            del self.objects[path]

        self._call(remove)

    def invalidate_cache(self, path: str | None = None) -> None:
        pass

    def unstrip_protocol(self, path: str) -> str:
        return f"gs://{path}"


@dataclass
class Clock:
    """Time passes only while somebody sleeps, or by ``call_s`` whenever it is asked for."""

    now: float = 0.0
    call_s: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        self.now += self.call_s
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def store(bucket: Bucket, clock: Clock | None = None, **budget: Any) -> ObjectStore:
    clock = clock or Clock()
    options = {"sleep": clock.sleep, "clock": clock, "jitter": lambda: 1.0, **budget}
    filesystem = RetryingFileSystem(filesystem=bucket, budget=RetryBudget(**options))
    return ObjectStore(filesystem=filesystem, root="b/run", uri="gs://b/run")


def every(n: int, error: Exception) -> Callable[[], Exception | None]:
    """``error`` at calls 1, n + 1, 2 n + 1, ..."""

    def endless() -> Iterator[Exception | None]:
        while True:
            yield error
            yield from [None] * (n - 1)

    calls = endless()
    return lambda: next(calls)


CALLS: list[Callable[[ObjectStore], Any]] = [
    lambda s: s.read("x"),
    lambda s: s.exists("x"),
    lambda s: s.list(),
    lambda s: s.create("y", b"2"),
    lambda s: s.put("y", b"2"),
    lambda s: s.delete("x"),
]
TRANSIENT = [HttpError(408), HttpError(429), HttpError(503), ConnectionResetError(), TimeoutError()]


def test_a_storage_that_fails_one_call_in_three_is_used_as_if_it_did_not() -> None:
    bucket = Bucket(fails=every(3, HttpError(503)))
    objects = store(bucket)
    for number in range(30):
        assert objects.create(f"{number:02d}", b"%d" % number) is True
        objects.put("newest", b"%d" % number)
        assert objects.exists(f"{number:02d}")
        assert objects.read("newest") == b"%d" % number
    objects.delete("newest")
    assert objects.list() == [f"{number:02d}" for number in range(30)]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
@pytest.mark.parametrize("call", CALLS)
def test_each_call_is_tried_again(call: Callable[[ObjectStore], Any], error: Exception) -> None:
    untroubled, troubled = Bucket(objects={"b/run/x": b"1"}), Bucket(objects={"b/run/x": b"1"})
    troubled.fails = every(9, error)
    assert call(store(troubled)) == call(store(untroubled))
    assert troubled.objects == untroubled.objects
    assert troubled.calls == untroubled.calls + 1


@pytest.mark.parametrize("call", CALLS)
def test_a_storage_that_never_answers_ends_within_the_budget(call: Callable[[ObjectStore], Any]) -> None:
    bucket, clock = Bucket(fails=lambda: HttpError(503)), Clock()
    with pytest.raises(TrainingFailure, match=r"gs://b/run.*HTTP 503; tried 5 times in 8 s") as caught:
        call(store(bucket, clock))
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    assert bucket.calls == 5
    assert clock.slept == [0.5, 1.0, 2.0, 4.0]


def test_slow_calls_use_the_budget_up_sooner() -> None:
    bucket, clock = Bucket(fails=TimeoutError), Clock(call_s=40)
    with pytest.raises(TrainingFailure, match=r"gs://b/run/x.*tried 2 times"):
        store(bucket, clock).read("x")
    assert bucket.calls == 2


def test_pauses_grow_to_a_limit_and_differ_between_pods() -> None:
    least, most = RetryBudget(jitter=lambda: 0.0), RetryBudget(jitter=lambda: 1.0)
    assert [most.pause_s(n) for n in (1, 2, 3, 9)] == [0.5, 1.0, 2.0, 15.0]
    assert [least.pause_s(n) for n in (1, 2, 3, 9)] == [0.25, 0.5, 1.0, 7.5]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "full"), FailureReason.STORAGE_FULL),
        (HttpError(403), FailureReason.PERMISSION_DENIED),
        (OSError("Forbidden: b/o/x\nno storage.objects.get"), FailureReason.PERMISSION_DENIED),
        (PermissionError(errno.EACCES, "no"), FailureReason.PERMISSION_DENIED),
        (HttpError(418), None),
    ],
)
@pytest.mark.parametrize("call", CALLS)
def test_what_will_not_pass_is_not_tried_again(
    call: Callable[[ObjectStore], Any], error: Exception, reason: FailureReason | None
) -> None:
    bucket = Bucket(fails=lambda: error)
    with pytest.raises(type(error)):
        call(store(bucket))
    # A create that is forbidden looks once whether the object is there already.
    assert bucket.calls in (1, 2 if str(error).startswith("Forbidden") else 1)
    assert reason_of(error) is reason


def test_a_create_whose_answer_was_lost_has_succeeded() -> None:
    bucket = Bucket(loses=every(4, HttpError(503)))
    # False: the first try wrote it.
    assert store(bucket).create("x", b"mine") is False
    assert bucket.objects == {"b/run/x": b"mine"}


def test_a_create_that_is_tried_again_does_not_replace_anothers() -> None:
    bucket = Bucket()

    def another_was_faster() -> Exception | None:
        first = not bucket.objects
        bucket.objects["b/run/x"] = b"another's"
        return HttpError(503) if first else None

    bucket.fails = another_was_faster
    with pytest.raises(ObjectExistsError):
        store(bucket).create("x", b"mine")
    assert bucket.objects == {"b/run/x": b"another's"}


def test_a_delete_whose_answer_was_lost_has_succeeded() -> None:
    bucket = Bucket(objects={"b/run/x": b"1"}, loses=every(4, ConnectionResetError()))
    store(bucket).delete("x")
    assert bucket.objects == {}


def test_errors_of_the_libraries_below_the_client_are_known() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    requests = pytest.importorskip("requests")
    auth = pytest.importorskip("google.auth.exceptions")
    for error in (aiohttp.ServerDisconnectedError(), requests.exceptions.ProxyError(), auth.TransportError()):
        assert reason_of(error) is FailureReason.NETWORK_TIMEOUT
    assert reason_of(auth.DefaultCredentialsError()) is FailureReason.PERMISSION_DENIED
    assert reason_of(aiohttp.InvalidURL("x")) is None


def test_a_failure_that_names_its_object_keeps_it() -> None:
    bucket = Bucket(fails=lambda: HttpError(503))
    with pytest.raises(TrainingFailure, match="gs://b/run/x: HttpError"), storage_errors("gs://b/run"):
        store(bucket).read("x")
