"""Checkpoints on a file system: torn, corrupt, raced for, taken over."""

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainer.checkpoints import Checkpoints, SupersededError, spec_sha256
from trainer.checkpoints.store import require_empty
from trainer.contract import (
    CheckpointPolicy,
    Engine,
    FailureReason,
    GroupMember,
    Limits,
    Manifest,
    Metric,
    Objective,
    OutputUris,
    SegmentFile,
    SnapshotRef,
    TrainingFailure,
    TrainingSpec,
    layout,
)
from trainer.contract.objects import sha256
from trainer.storage import open_store

SPEC = TrainingSpec(
    job_id="job",
    model_type="m",
    engine=Engine.XGBOOST,
    objective=Objective.SQUARED_ERROR,
    metric=Metric.RMSE,
    features=("a",),
    rounds=300,
    snapshot=SnapshotRef(table="p.d.t", logical_shards=2, rows={"train": (5, 5)}),
    output=OutputUris(checkpoints="file:///x", artifacts="file:///y"),
    validation_split=None,
    num_workers=1,
)
HASH = spec_sha256(SPEC)


def checkpoints(folder: Path, spec_hash: str = HASH) -> Checkpoints:
    return Checkpoints(store=open_store(folder.as_uri()), spec_sha256=spec_hash)


def document(boundary: int) -> bytes:
    return b"trees of round %d" % boundary


def manifest(epoch: int, boundaries: list[tuple[int, int]], spec_hash: str = HASH) -> Manifest:
    """``boundaries``: (epoch that wrote it, last round) of each segment."""
    first, parts = 0, []
    for index, (wrote, last) in enumerate(boundaries):
        file = layout.segment_file(wrote, last, ".ubj")
        parts.append(
            SegmentFile(
                segment=index,
                first_round=first,
                last_round=last,
                file=file,
                sha256=sha256(document(last)),
                bytes=len(document(last)),
            )
        )
        first = last
    return Manifest(
        job_id="job",
        epoch=epoch,
        segment=len(parts) - 1,
        round=first,
        seed=1,
        spec_sha256=spec_hash,
        base_score=0.5,
        segments=tuple(parts),
        group=(GroupMember(rank=0, worker_index=0, shards=(0,), rows=5),),
        libraries={},
    )


def train(store: Checkpoints, epoch: int, boundaries: list[tuple[int, int]]) -> None:
    for end in range(1, len(boundaries) + 1):
        if boundaries[end - 1][0] == epoch:
            store.commit(manifest(epoch, boundaries[:end]), document(boundaries[end - 1][1]))


def test_the_first_chief_starts_epoch_1_from_nothing(tmp_path: Path) -> None:
    epoch, found = checkpoints(tmp_path).take_over("job")
    assert (epoch, found.manifest, found.documents) == (1, None, ())
    require_empty(found, "uri")


def test_a_commit_is_found_with_all_its_segments(tmp_path: Path) -> None:
    first = checkpoints(tmp_path)
    first.take_over("job")
    train(first, 1, [(1, 100), (1, 200)])
    epoch, found = checkpoints(tmp_path).take_over("job")
    assert epoch == 2
    assert found.manifest is not None
    assert found.manifest.round == 200
    assert found.documents == (document(100), document(200))
    assert found.passed_over == ()


def test_committing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    store = checkpoints(tmp_path)
    store.take_over("job")
    train(store, 1, [(1, 100)])
    train(store, 1, [(1, 100)])
    assert len(store.store.list("epochs/000001/rounds")) == 2


def test_a_segment_without_manifest_is_not_committed(tmp_path: Path) -> None:
    store = checkpoints(tmp_path)
    store.take_over("job")
    train(store, 1, [(1, 100)])
    store.store.create(layout.segment_file(1, 200, ".ubj"), document(200))
    found = checkpoints(tmp_path).newest()
    assert found.manifest is not None
    assert (found.manifest.round, found.passed_over) == (100, ())


def tear_manifest(folder: Path) -> None:
    path = folder / layout.manifest(1, 200)
    path.write_bytes(path.read_bytes()[:-20])


def empty_manifest(folder: Path) -> None:
    (folder / layout.manifest(1, 200)).write_bytes(b"")


def binary_manifest(folder: Path) -> None:
    (folder / layout.manifest(1, 200)).write_bytes(b"\xff\xfe\x00")


def flip_segment(folder: Path) -> None:
    (folder / layout.segment_file(1, 200, ".ubj")).write_bytes(b"trees of round 2O0")


def drop_segment(folder: Path) -> None:
    (folder / layout.segment_file(1, 200, ".ubj")).unlink()


def other_manifest(folder: Path) -> None:
    (folder / layout.manifest(1, 200)).write_bytes((folder / layout.manifest(1, 100)).read_bytes())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (tear_manifest, "cannot be read"),
        (empty_manifest, "cannot be read"),
        (binary_manifest, "cannot be read"),
        (flip_segment, "is corrupt"),
        (drop_segment, "is missing"),
        (other_manifest, "describes epoch 1, round 100"),
    ],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    first = checkpoints(tmp_path)
    first.take_over("job")
    train(first, 1, [(1, 100), (1, 200)])
    damage(tmp_path)
    epoch, found = checkpoints(tmp_path).take_over("job")
    assert found.manifest is not None
    assert (epoch, found.manifest.round, found.documents) == (2, 100, (document(100),))
    assert len(found.passed_over) == 1
    assert layout.manifest(1, 200) in found.passed_over[0]
    assert said in found.passed_over[0]


def test_damage_in_an_early_segment_spoils_every_later_checkpoint(tmp_path: Path) -> None:
    first = checkpoints(tmp_path)
    first.take_over("job")
    train(first, 1, [(1, 100), (1, 200)])
    (tmp_path / layout.segment_file(1, 100, ".ubj")).write_bytes(b"?")
    found = checkpoints(tmp_path).newest()
    assert found.manifest is None
    assert len(found.passed_over) == 2


def test_a_chief_that_was_superseded_can_commit_nothing_that_counts(tmp_path: Path) -> None:
    zombie = checkpoints(tmp_path)
    zombie.take_over("job")
    train(zombie, 1, [(1, 100)])
    successor = checkpoints(tmp_path)
    epoch, _ = successor.take_over("job")
    with pytest.raises(SupersededError, match="epoch 1 was taken over by epoch 2") as caught:
        train(zombie, 1, [(1, 100), (1, 200)])
    assert caught.value.reason is FailureReason.CHIEF_LOST
    # Even if its check came a moment before the take-over and its manifest was written after it.
    late = manifest(1, [(1, 100), (1, 200)])
    zombie.store.create(layout.manifest(1, 200), late.to_json().encode())
    train(successor, epoch, [(1, 100), (2, 180)])
    found = checkpoints(tmp_path).newest()
    assert found.manifest is not None
    assert (found.manifest.epoch, found.manifest.round) == (2, 180)


def test_of_chiefs_that_race_each_gets_an_epoch_of_its_own(tmp_path: Path) -> None:
    barrier, taken = threading.Barrier(4), []

    def race() -> None:
        store = checkpoints(tmp_path)
        barrier.wait()
        taken.append(store.take_over("job")[0])

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == [1, 2, 3, 4]


def test_a_checkpoint_of_another_spec_is_refused(tmp_path: Path) -> None:
    first = checkpoints(tmp_path)
    first.take_over("job")
    train(first, 1, [(1, 100)])
    other = spec_sha256(replace(SPEC, seed=1))
    with pytest.raises(TrainingFailure, match="another spec") as caught:
        checkpoints(tmp_path, other).take_over("job")
    assert caught.value.reason is FailureReason.CONFIG_INVALID
    assert not (tmp_path / layout.epoch_marker(2)).exists()


def test_a_new_run_demands_an_empty_folder(tmp_path: Path) -> None:
    store = checkpoints(tmp_path)
    store.take_over("job")
    with pytest.raises(TrainingFailure, match="holds 1 epochs already, and resume is false"):
        require_empty(store.newest(), tmp_path.as_uri())


@pytest.mark.parametrize(
    "change",
    [
        {"num_workers": 2},
        {"threads": 8},
        {"job_id": "other"},
        {"output": OutputUris(checkpoints="gs://a/b", artifacts="gs://a/c")},
        {"limits": Limits(heartbeat_s=5)},
        {"resume": False},
        {"snapshot": replace(SPEC.snapshot, created_at="2026-01-01T00:00:00Z", bytes_scanned=9)},
    ],
)
def test_where_and_by_how_many_does_not_make_it_another_spec(change: dict[str, Any]) -> None:
    assert spec_sha256(replace(SPEC, **change)) == HASH


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 301},
        {"seed": 1},
        {"features": ("a", "b")},
        {"params": {"max_depth": 3}},
        {"checkpoint": CheckpointPolicy(segment_rounds=50)},
        {"snapshot": replace(SPEC.snapshot, table="p.d.t2")},
        {"snapshot": replace(SPEC.snapshot, rows={"train": (5, 6)})},
    ],
)
def test_what_is_trained_makes_it_another_spec(change: dict[str, Any]) -> None:
    assert spec_sha256(replace(SPEC, **change)) != HASH


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, FailureReason.STORAGE_FULL),
        (errno.EDQUOT, FailureReason.STORAGE_FULL),
        (errno.EACCES, FailureReason.PERMISSION_DENIED),
        (errno.EROFS, FailureReason.PERMISSION_DENIED),
        (errno.EIO, FailureReason.NETWORK_TIMEOUT),
    ],
)
def test_what_the_disk_refuses_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: FailureReason
) -> None:
    store = checkpoints(tmp_path)
    store.take_over("job")
    train(store, 1, [(1, 100)])
    before = sorted(p for p in tmp_path.rglob("*") if p.is_file())

    def refuse(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TrainingFailure, match=r"segment.ubj") as caught:
        train(store, 1, [(1, 100), (1, 200)])
    assert caught.value.reason is reason
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before
