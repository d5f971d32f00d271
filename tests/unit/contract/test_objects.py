"""Objects are whole or absent, and created once, on a plain file system as in a bucket."""

import errno
import os
from pathlib import Path

import fsspec
import pytest

from trainer.contract import ObjectExistsError, ObjectStore


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


def test_a_full_disk_leaves_nothing(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.create("x", b"1")
    monkeypatch.undo()
    assert store.list() == []
    assert store.create("x", b"2") is True


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
