"""Checkpoints on ``gs://`` through gcsfs: committed, raced for, taken over, on a storage that fails."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from composer.local.gcs.testing import OneInThree
from tests.contract.gcs.conftest import Start
from tests.fakes.checkpoint_history import HASH, document, manifest
from tests.unit.chief.fakes import FakeGroup, spec, use_fake_engine
from trainer.checkpoints import Checkpoints, SupersededError, spec_sha256
from trainer.chief.driver import Driver
from trainer.chief.result import Finished, write_result
from trainer.contract import FailureReason, OutputUris, TrainingFailure, TrainingResult, layout
from trainer.contract.objects import sha256
from trainer.logs import EventLog, JsonLines
from trainer.storage import RetryBudget, open_store

URI = "gs://bucket/checkpoints/job"
QUICK = RetryBudget(first_pause_s=0.001)


def checkpoints() -> Checkpoints:
    return Checkpoints(store=open_store(URI, QUICK), spec_sha256=HASH)


def train(store: Checkpoints, epoch: int, boundaries: list[tuple[int, int]]) -> None:
    for end in range(1, len(boundaries) + 1):
        if boundaries[end - 1][0] == epoch:
            store.commit(manifest(epoch, boundaries[:end]), document(*boundaries[end - 1]))


def test_a_commit_is_found_with_all_its_segments(gcs: Start) -> None:
    gcs()
    first = checkpoints()
    first.take_over("job")
    train(first, 1, [(1, 100), (1, 200)])
    train(first, 1, [(1, 100), (1, 200)])
    epoch, found = checkpoints().take_over("job")
    assert found.manifest is not None
    assert (epoch, found.manifest.round, found.passed_over) == (2, 200, ())
    assert found.documents == (document(1, 100), document(1, 200))


def test_a_zombie_is_told_and_never_resumed_from(gcs: Start) -> None:
    gcs()
    zombie, successor = checkpoints(), checkpoints()
    zombie.take_over("job")
    train(zombie, 1, [(1, 100)])
    successor.take_over("job")
    with pytest.raises(SupersededError, match="epoch 1 was taken over by epoch 2"):
        train(zombie, 1, [(1, 100), (1, 200)])
    zombie.store.create(layout.manifest(1, 200), manifest(1, [(1, 100), (1, 200)]).to_json().encode())
    found = checkpoints().newest()
    assert found.manifest is not None
    assert (found.manifest.epoch, found.manifest.round) == (1, 100)


def test_of_chiefs_that_race_each_gets_an_epoch_of_its_own(gcs: Start) -> None:
    gcs()
    barrier = threading.Barrier(4)

    def race(_number: int) -> int:
        store = checkpoints()
        barrier.wait(10)
        return store.take_over("job")[0]

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(race, range(4))) == [1, 2, 3, 4]


async def test_a_run_and_its_repetitions_need_no_right_to_delete(
    gcs: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcs(may_delete=False)
    use_fake_engine(monkeypatch)
    wanted = replace(spec(tmp_path), output=OutputUris(checkpoints=URI, artifacts="gs://bucket/artifacts"))
    store = Checkpoints(store=open_store(URI, QUICK), spec_sha256=spec_sha256(wanted))
    epoch, found = store.take_over("job")
    log = EventLog(job_id="job", sink=JsonLines(io.StringIO()))
    driver = Driver(spec=wanted, group=FakeGroup(), checkpoints=store, log=log, epoch=epoch, found=found)
    manifest = await driver.run()
    finished = Finished(manifest=manifest, manifest_uri="m", documents=driver.documents, seconds={"total": 1.0})
    artifacts = open_store("gs://bucket/artifacts", QUICK)
    # A chief that is killed here has written the model, and the next one writes it again.
    artifacts.create(layout.BOOSTER_FILES[wanted.engine.value], b"[]")
    other = write_result(wanted, finished, artifacts)
    again = write_result(wanted, replace(finished, seconds={"total": 2.0}), artifacts)
    assert again == other
    result = TrainingResult.from_json(artifacts.read(layout.RESULT))
    assert result.model_uri != artifacts.uri_of(layout.BOOSTER_FILES[wanted.engine.value]), "another model was there"
    assert sha256(artifacts.read(result.model_uri.rpartition("/")[2])) == result.sha256


# One look for an object that is missing costs gcsfs three requests, so without its own retries none would succeed.
@pytest.mark.usefixtures("gcsfs_does_not_wait")
def test_a_run_on_a_storage_that_fails_one_request_in_three(gcs: Start) -> None:
    gcs(OneInThree())
    boundaries: list[tuple[int, int]] = []
    for epoch in (1, 2, 3):
        store = checkpoints()
        assert store.take_over("job")[0] == epoch
        boundaries += [(epoch, 100 * len(boundaries) + 100), (epoch, 100 * len(boundaries) + 200)]
        train(store, epoch, boundaries)
    found = checkpoints().newest()
    assert found.manifest is not None
    assert (found.manifest.round, found.passed_over) == (600, ())
    assert found.documents == tuple(document(*b) for b in boundaries)


@pytest.mark.usefixtures("gcsfs_asks_once")
def test_a_commit_whose_answers_are_lost_is_a_commit(gcs: Start) -> None:
    uploads = OneInThree()
    gcs(lost=lambda method, path: uploads(method, path) if method == "POST" else None)
    store = checkpoints()
    assert store.take_over("job")[0] == 1
    train(store, 1, [(1, 100), (1, 200), (1, 300)])
    found = checkpoints().newest()
    assert found.manifest is not None
    assert (found.manifest.round, found.highest_epoch) == (300, 1)


@pytest.mark.usefixtures("gcsfs_asks_once")
def test_a_storage_that_goes_down_ends_as_network_timeout_and_keeps_what_was_committed(gcs: Start) -> None:
    down = threading.Event()
    gcs(lambda _method, _path: 503 if down.is_set() else None)
    store = checkpoints()
    store.take_over("job")
    train(store, 1, [(1, 100)])
    down.set()
    with pytest.raises(TrainingFailure, match=rf"{URI}/epochs/000001/rounds/00000200/segment\.ubj") as caught:
        store.commit(manifest(1, [(1, 100), (1, 200)]), document(1, 200))
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    down.clear()
    found = checkpoints().newest()
    assert found.manifest is not None
    assert found.manifest.round == 100
