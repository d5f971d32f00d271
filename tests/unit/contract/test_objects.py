"""Objects are whole or absent, and created once, on a plain file system as in a bucket."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from trainer.contract import ObjectExistsError, ObjectStore

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    uri = f"file://{tmp_path}/bucket"
    filesystem, root = fsspec.core.url_to_fs(uri)
    return ObjectStore(filesystem=filesystem, root=root, uri=uri)


def test_created_once(store: ObjectStore) -> None:
    assert store.create("a/b.json", b"1") is True
    assert store.create("a/b.json", b"1") is False
    with pytest.raises(ObjectExistsError, match=r"a/b\.json"):
        store.create("a/b.json", b"2")
    assert store.read("a/b.json") == b"1"


def test_list_is_sorted_and_relative(store: ObjectStore) -> None:
    for name in ("b/2", "a/1", "b/1"):
        store.create(name, b"")
    assert store.list() == ["a/1", "b/1", "b/2"]
    assert store.list("b") == ["b/1", "b/2"]
    assert store.list("nothing") == []


def test_missing(store: ObjectStore) -> None:
    assert not store.exists("x")
    with pytest.raises(FileNotFoundError):
        store.read("x")


def test_put_replaces(store: ObjectStore) -> None:
    store.put("x", b"1")
    store.put("x", b"2")
    assert store.read("x") == b"2"


def files(folder: Path) -> list[str]:
    """Every file, hidden ones too."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.fixture(params=["unnamed", errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def kind_of_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With unnamed files, and without: each answer that says so."""
    if request.param == "unnamed":
        return
    real = os.open

    def without(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(request.param, os.strerror(request.param))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", without)


@pytest.mark.usefixtures("kind_of_disk")
def test_every_disk_keeps_the_rules(store: ObjectStore, tmp_path: Path) -> None:
    assert store.create("a/x", b"1" * 100_000) is True
    assert store.create("a/x", b"1" * 100_000) is False
    with pytest.raises(ObjectExistsError):
        store.create("a/x", b"2")
    store.put("a/x", b"3")
    store.put("a/y", b"4")
    assert (store.read("a/x"), store.read("a/y")) == (b"3", b"4")
    assert files(tmp_path) == ["x", "y"]


def test_what_is_there_stays_and_the_other_goes_beside_it(store: ObjectStore) -> None:
    assert store.create_beside("a/x.json", b"1") == "a/x.json"
    assert store.create_beside("a/x.json", b"1") == "a/x.json"
    beside = store.create_beside("a/x.json", b"2")
    assert beside.startswith("a/x.")
    assert beside.endswith(".json")
    assert store.create_beside("a/x.json", b"2") == beside
    assert (store.read("a/x.json"), store.read(beside)) == (b"1", b"2")


class Refusing(LocalFileSystem):
    """Says that something is forbidden, as a bucket does when an account without the right to delete would replace."""

    protocol = "refusing"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        raise OSError(f"Forbidden: {path}")


def test_a_refusal_is_about_what_is_there_only_where_something_is(tmp_path: Path) -> None:
    store = ObjectStore(filesystem=Refusing(), root=str(tmp_path), uri="refusing://x")
    (tmp_path / "x").write_bytes(b"1")
    assert store.create("x", b"1") is False
    with pytest.raises(ObjectExistsError):
        store.create("x", b"2")
    with pytest.raises(OSError, match="Forbidden"):
        store.create("absent", b"1")


def write_by_create(store: ObjectStore) -> None:
    store.create("x", b"1")


def write_by_put(store: ObjectStore) -> None:
    store.put("x", b"1")


@pytest.mark.usefixtures("kind_of_disk")
@pytest.mark.parametrize("write", [write_by_create, write_by_put])
def test_a_full_disk_leaves_nothing(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[ObjectStore], None]
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(store)
    monkeypatch.undo()
    assert files(tmp_path) == []
    assert store.create("x", b"2") is True


def test_a_rename_that_fails_leaves_what_was_there(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("x", b"1")

    def refuse(_source: str, _target: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        store.put("x", b"2")
    assert files(tmp_path) == ["x"]
    assert store.read("x") == b"1"


def test_what_the_disk_refuses_otherwise_is_no_reason_to_fall_back(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Any, _flags: int, *_rest: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        store.create("x", b"1")


KILLED = """
import os, sys
import fsspec
from trainer.contract import ObjectStore

def written(*_arguments, **_options):
    print("written", flush=True)
    sys.stdin.read()

os.link = written
uri = sys.argv[1]
filesystem, root = fsspec.core.url_to_fs(uri)
getattr(ObjectStore(filesystem=filesystem, root=root, uri=uri), sys.argv[2])("a/x", b"1" * 1_000_000)
"""


@pytest.mark.parametrize("method", ["create", "put"])
def test_a_process_killed_between_writing_and_naming_leaves_nothing(
    store: ObjectStore, tmp_path: Path, method: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, store.uri, method],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
    finally:
        child.kill()
        child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL
    assert files(tmp_path) == []
    assert store.create("a/x", b"2") is True


def test_deleted_and_deleted_again(store: ObjectStore) -> None:
    store.create("a", b"1")
    store.delete("a")
    store.delete("a")
    assert store.list() == []
    assert store.create("a", b"2") is True


def test_of_many_writers_one_wins(store: ObjectStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> bool:
        try:
            return store.create("prize", str(number).encode())
        except ObjectExistsError:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(32)))
    assert won.count(True) == 1
    assert store.read("prize") == str(won.index(True)).encode()


def test_memory_filesystem_has_the_same_rules() -> None:
    filesystem, root = fsspec.core.url_to_fs("memory://bucket-of-test")
    store = ObjectStore(filesystem=filesystem, root=root, uri="memory://bucket-of-test")
    assert store.create("a", b"1") is True
    assert store.create("a", b"1") is False
    with pytest.raises(ObjectExistsError):
        store.create("a", b"2")
