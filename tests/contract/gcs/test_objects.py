"""The rules of an object store, on ``gs://`` through gcsfs: whole or absent, created once, faults survived."""

import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from composer.local.gcs.testing import OneInThree
from tests.contract.gcs.conftest import Start
from trainer.contract import FailureReason, ObjectExistsError, ObjectStore, TrainingFailure
from trainer.storage import RetryBudget, open_store

#: Five tries, and hardly a pause.
QUICK = RetryBudget(first_pause_s=0.001)


def store(uri: str = "gs://bucket/run") -> ObjectStore:
    return open_store(uri, QUICK)


def test_created_once(gcs: Start) -> None:
    gcs()
    objects = store()
    assert objects.create("a/b.json", b"1") is True
    assert objects.create("a/b.json", b"1") is False
    with pytest.raises(ObjectExistsError, match=r"gs://bucket/run/a/b\.json"):
        objects.create("a/b.json", b"2")
    assert objects.read("a/b.json") == b"1"


def test_an_account_that_may_not_delete_may_not_replace_either(gcs: Start) -> None:
    gcs(may_delete=False)
    objects = store()
    assert objects.create("a/b.json", b"1") is True
    assert objects.create("a/b.json", b"1") is False
    with pytest.raises(ObjectExistsError):
        objects.create("a/b.json", b"2")
    beside = objects.create_beside("a/b.json", b"2")
    assert (objects.create_beside("a/b.json", b"2"), objects.read(beside)) == (beside, b"2")
    with pytest.raises(OSError, match="Forbidden"):
        objects.put("a/b.json", b"3")
    with pytest.raises(OSError, match="Forbidden"):
        objects.delete("a/b.json")
    assert objects.read("a/b.json") == b"1"


def test_put_replaces_and_delete_removes(gcs: Start) -> None:
    gcs()
    objects = store()
    objects.put("x", b"1")
    objects.put("x", b"2")
    assert (objects.read("x"), objects.exists("x")) == (b"2", True)
    objects.delete("x")
    objects.delete("x")
    assert not objects.exists("x")
    with pytest.raises(FileNotFoundError):
        objects.read("x")


@pytest.mark.parametrize("data", [b"", b"\r", b"a\r\n\r\n\n--==0==\nb", bytes(range(256)) * 5000], ids=len)
def test_content_comes_back_as_it_was(gcs: Start, data: bytes) -> None:
    gcs()
    store().create("x", data)
    assert store().read("x") == data


def test_list_sees_its_folder_only(gcs: Start) -> None:
    gcs()
    for name in ("run/b/2", "run/a/1", "run/b/1", "runner/x", "other"):
        store("gs://bucket").create(name, b"")
    assert store().list() == ["a/1", "b/1", "b/2"]
    assert store().list("b") == ["b/1", "b/2"]
    assert store().list("nothing") == []


def test_list_goes_through_all_pages(gcs: Start) -> None:
    address = gcs()
    for number in range(5):
        store().create(f"{number}/x", b"")
    # The same in pages of two, which is what gcsfs would meet at a thousand.
    names, prefixes, token = [], [], ""
    while True:
        with urllib.request.urlopen(
            f"{address}/storage/v1/b/bucket/o?prefix=run/&maxResults=2&pageToken={token}", timeout=10
        ) as response:
            page = json.load(response)
        names += [item["name"] for item in page["items"]]
        if not (token := page.get("nextPageToken", "")):
            break
        assert len(page["items"]) == 2
    assert names == [f"run/{number}/x" for number in range(5)]
    with urllib.request.urlopen(f"{address}/storage/v1/b/bucket/o?prefix=run/&delimiter=/", timeout=10) as response:
        prefixes = json.load(response)["prefixes"]
    assert prefixes == [f"run/{number}/" for number in range(5)]


def test_of_many_creators_exactly_one_wins(gcs: Start) -> None:
    gcs()
    barrier = threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait(10)
        try:
            return store().create("prize", str(number).encode())
        except ObjectExistsError:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert store().read("prize") == str(won.index(True)).encode()


def test_a_connection_that_breaks_in_an_upload_leaves_nothing(gcs: Start) -> None:
    address = urlsplit(gcs())
    assert address.port
    with socket.create_connection(("127.0.0.1", address.port), 10) as connection:
        path = "/upload/storage/v1/b/bucket/o?uploadType=media&name=run/torn"
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode() + b"1" * 500)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"", "an answer to half an upload"
    assert store().list() == []
    assert store().create("torn", b"2") is True


def test_a_resumable_upload_is_no_object_before_its_last_byte(gcs: Start) -> None:
    gcs()
    filesystem = store().filesystem.filesystem  # type: ignore[attr-defined]
    file = filesystem.open("bucket/run/large", "wb", block_size=2**18)
    file.write(b"1" * 2**20)
    file.flush()
    assert store().list() == []
    file.close()
    assert store().read("large") == b"1" * 2**20


def test_a_resumable_upload_that_is_given_up_leaves_nothing(gcs: Start) -> None:
    gcs()
    filesystem = store().filesystem.filesystem  # type: ignore[attr-defined]
    file = filesystem.open("bucket/run/large", "wb", block_size=2**18)
    file.write(b"1" * 2**20)
    file.flush()
    file.discard()
    assert store().list() == []


def test_a_large_create_is_create_only_too(gcs: Start) -> None:
    gcs()
    filesystem = store().filesystem.filesystem  # type: ignore[attr-defined]
    filesystem.pipe_file("bucket/run/x", b"1" * 2**20, mode="create", chunksize=2**18)
    with pytest.raises(FileExistsError):
        filesystem.pipe_file("bucket/run/x", b"2" * 2**20, mode="create", chunksize=2**18)
    assert store().read("x") == b"1" * 2**20


def test_objects_are_still_there_after_a_restart(gcs: Start) -> None:
    gcs()
    store().create("a", b"1")
    gcs()
    assert (store().list(), store().read("a")) == (["a"], b"1")
    with pytest.raises(ObjectExistsError):
        store().create("a", b"2")


@pytest.mark.parametrize(
    "query", ["ifMetagenerationMatch=1", "generation=5", "userProject=x", "ifGenerationNotMatch=0"]
)
def test_what_is_not_served_is_refused(gcs: Start, query: str) -> None:
    address = urlsplit(gcs())
    store().create("a", b"1")
    connection = http.client.HTTPConnection(address.netloc, timeout=10)
    connection.request("GET", f"/storage/v1/b/bucket/o/run%2Fa?{query}")
    response = connection.getresponse()
    assert (response.status, b"not served here" in response.read()) == (400, True)
    connection.close()


def test_a_range(gcs: Start) -> None:
    gcs()
    store().create("x", b"0123456789")
    filesystem = store().filesystem.filesystem  # type: ignore[attr-defined]
    assert filesystem.cat_file("bucket/run/x", start=2, end=5) == b"234"
    assert filesystem.cat_file("bucket/run/x", start=7) == b"789"


@pytest.mark.usefixtures("gcsfs_asks_once")
@pytest.mark.parametrize("code", [503, 502, 500, 429, 408])
def test_one_request_in_three_fails_and_nobody_notices(gcs: Start, code: int) -> None:
    faults = OneInThree(code)
    gcs(faults)
    objects = store()
    for number in range(10):
        assert objects.create(str(number), b"%d" % number) is True
        assert objects.read(str(number)) == b"%d" % number
    assert len(objects.list()) == 10
    assert faults.requests > 30


@pytest.mark.usefixtures("gcsfs_asks_once")
def test_a_create_whose_answer_is_lost_has_succeeded(gcs: Start) -> None:
    lost: list[str] = []

    def lose_first(method: str, path: str) -> int | None:
        if method == "POST" and not lost:
            lost.append(path)
            return 503
        return None

    gcs(lost=lose_first)
    assert store().create("a", b"1") is False
    assert len(lost) == 1
    assert store().read("a") == b"1"


@pytest.mark.usefixtures("gcsfs_asks_once")
def test_a_storage_that_is_down_ends_as_network_timeout(gcs: Start) -> None:
    asked: list[str] = []

    def down(_method: str, path: str) -> int:
        asked.append(path)
        return 503

    gcs(down)
    with pytest.raises(TrainingFailure, match=r"gs://bucket/run/a/b: HttpError.*tried 5 times") as caught:
        store().create("a/b", b"1")
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    assert len(asked) == 5


@pytest.mark.usefixtures("gcsfs_asks_once")
def test_a_storage_that_is_not_there_ends_as_network_timeout(gcs: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gcs()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(TrainingFailure, match=r"gs://bucket/run/a.*tried 5 times") as caught:
            store().read("a")
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT


@pytest.mark.parametrize("code", [403, 401])
@pytest.mark.usefixtures("gcsfs_asks_once")
def test_an_account_without_the_right_is_told_at_once(gcs: Start, code: int) -> None:
    from trainer.storage import storage_errors

    asked: list[str] = []

    def denied(method: str, _path: str) -> int:
        asked.append(method)
        return code

    gcs(denied)
    with pytest.raises(TrainingFailure, match="gs://bucket/run/a") as caught, storage_errors("gs://bucket/run/a"):
        store().create("a", b"1")
    assert caught.value.reason is FailureReason.PERMISSION_DENIED
    # Forbidden may mean that something is there already; that is looked at.
    assert asked == ["POST"] if code == 401 else asked.count("POST") == 1


@pytest.mark.usefixtures("gcsfs_does_not_wait")
def test_gcsfs_own_retries_come_first(gcs: Start) -> None:
    gcs(OneInThree())
    objects = open_store("gs://bucket/run", RetryBudget(attempts=1))
    for number in range(10):
        # Not in the test above: to look for an object takes gcsfs up to three requests, at once.
        assert not objects.exists(str(number))
        assert objects.create(str(number), b"1") is True
        assert objects.exists(str(number))
        assert objects.read(str(number)) == b"1"
