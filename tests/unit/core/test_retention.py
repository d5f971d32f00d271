"""What is pruned is never missed: the newest checkpoint is found as before, whatever happened to the run."""

import itertools
from dataclasses import dataclass, field

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f1_training.core.retention import removable
from f1_training.core.storage import open_store, prune_checkpoints
from tests.fakes.checkpoint_history import HASH, document, manifest
from trainer.checkpoints import Checkpoints, Epoch
from trainer.contract import FailureReason, Manifest, TrainingFailure, layout

NUMBERS = itertools.count()


def marker(epoch: int, parent: str = "") -> Epoch:
    return Epoch(job_id="job", epoch=epoch, chief=f"chief-{epoch}", parent=parent)


def segment(epoch: int, boundary: int) -> str:
    return layout.segment_file(epoch, boundary, ".ubj")


@dataclass
class Run:
    """A run's names and manifests, without any storage."""

    markers: dict[int, Epoch | None] = field(default_factory=dict)
    manifests: dict[str, Manifest | None] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def commit(self, epoch: int, boundaries: list[tuple[int, int]], *, finished: bool = False) -> "Run":
        self.manifests[layout.manifest(*boundaries[-1])] = manifest(epoch, boundaries, finished=finished)
        self.others.append(segment(*boundaries[-1]))
        return self

    def removable(self, keep: int) -> list[str]:
        names = [*map(layout.epoch_marker, self.markers), *self.manifests, *self.others]
        return removable(names, self.markers, self.manifests.get, keep)


def one_epoch(count: int, *, finished: bool) -> Run:
    run, boundaries = Run(markers={1: marker(1)}), [(1, 100 * n) for n in range(1, count + 1)]
    for end in range(1, count + 1):
        run.commit(1, boundaries[:end], finished=finished and end == count)
    return run


@pytest.mark.parametrize("finished", [True, False])
def test_manifests_below_the_newest_go_and_no_segment_does(finished: bool) -> None:
    run = one_epoch(5, finished=finished)
    assert run.removable(3) == [layout.manifest(1, 100), layout.manifest(1, 200)]
    assert run.removable(5) == run.removable(9) == []


def test_what_a_commit_that_never_came_left_goes_when_the_run_is_over() -> None:
    run = one_epoch(3, finished=True)
    run.others += [segment(1, 150), segment(1, 250), "epochs/000001/rounds/00000250/notes.txt", "outcome.json"]
    assert run.removable(3) == [segment(1, 150), segment(1, 250)]


def test_a_run_that_goes_on_keeps_all_but_old_manifests() -> None:
    run = one_epoch(3, finished=False)
    run.others += [segment(1, 150), segment(1, 400)]
    assert run.removable(2) == [layout.manifest(1, 100)]


def superseded() -> Run:
    """Epoch 2 went on from round 100 of epoch 1, whose chief lived on for two more commits."""
    run = Run(markers={1: marker(1), 2: marker(2, layout.manifest(1, 100))})
    run.commit(1, [(1, 100)]).commit(1, [(1, 100), (1, 200)]).commit(1, [(1, 100), (1, 200), (1, 300)])
    run.commit(2, [(1, 100), (2, 200)])
    return run


def test_what_a_superseded_chief_left_goes_but_not_its_marker_nor_what_is_continued() -> None:
    run = superseded().commit(2, [(1, 100), (2, 200), (2, 300)], finished=True)
    zombies = [layout.manifest(1, 200), layout.manifest(1, 300), segment(1, 200), segment(1, 300)]
    assert run.removable(3) == zombies
    assert run.removable(1) == sorted([*zombies[:2], layout.manifest(1, 100), layout.manifest(2, 200)]) + zombies[2:]


def test_while_a_run_goes_on_what_a_superseded_chief_writes_is_left_to_it() -> None:
    assert superseded().removable(2) == []
    assert superseded().removable(1) == [layout.manifest(1, 100)]


def test_a_checkpoint_that_is_not_whole_does_not_count() -> None:
    run = one_epoch(4, finished=True)
    run.others.remove(segment(1, 400))
    assert run.removable(1) == [layout.manifest(1, 100), layout.manifest(1, 200)]
    run.manifests[layout.manifest(1, 300)] = None
    assert run.removable(1) == [layout.manifest(1, 100)]


def test_where_nothing_can_be_resumed_from_nothing_goes() -> None:
    run = one_epoch(2, finished=True)
    run.others.remove(segment(1, 100))
    assert run.removable(1) == []
    assert Run().removable(1) == []


def test_an_unreadable_marker_makes_it_careful() -> None:
    run = superseded().commit(2, [(1, 100), (2, 200), (2, 300)], finished=True)
    run.markers[1] = None
    assert run.removable(9) == []


def test_the_newest_is_always_kept() -> None:
    with pytest.raises(ValueError, match="keep is 0"):
        one_epoch(1, finished=True).removable(0)


@dataclass
class History:
    """A run on a storage, with all the chiefs it ever had: each may go on writing."""

    uri: str = field(default_factory=lambda: f"memory://retention-{next(NUMBERS)}")
    chiefs: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(store=open_store(self.uri), spec_sha256=HASH)

    def take_over(self) -> None:
        epoch, found = self.checkpoints.take_over("job")
        parts = found.manifest.segments if found.manifest else ()
        self.chiefs.append((epoch, [(int(p.file.split("/")[1]), p.last_round) for p in parts]))

    def commit(self, chief: int, rounds: int, *, whole: bool = True, finished: bool = False) -> None:
        epoch, boundaries = self.chiefs[chief % len(self.chiefs)]
        last = boundaries[-1][1] if boundaries else 0
        mine = [*boundaries, (epoch, last + rounds)]
        store = open_store(self.uri)
        store.put(segment(*mine[-1]), document(*mine[-1]))
        if whole:
            store.put(layout.manifest(*mine[-1]), manifest(epoch, mine, finished=finished).to_json().encode())
            boundaries.append(mine[-1])

    def tear(self, number: int) -> None:
        self._damage(number, "manifest.json", drop=False)

    def drop(self, number: int) -> None:
        self._damage(number, "segment.ubj", drop=True)

    def _damage(self, number: int, ending: str, *, drop: bool) -> None:
        store = open_store(self.uri)
        names = [n for n in store.list("epochs") if n.endswith(ending)]
        if names and drop:
            store.delete(names[number % len(names)])
        elif names:
            store.put(names[number % len(names)], b"{")


COMMITS = st.tuples(st.just("commit"), st.integers(0, 9), st.integers(1, 3))
STEPS = st.one_of(
    COMMITS,
    COMMITS,
    st.tuples(st.just("half"), st.integers(0, 9), st.integers(1, 3)),
    st.tuples(st.just("take_over"), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["tear", "drop"]), st.integers(0, 9), st.just(0)),
)
#: What befell it after its last commit: damage to the newest files or to any.
DAMAGE = st.lists(st.tuples(st.sampled_from(["tear", "drop"]), st.integers(-2, 9)), max_size=2)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=14), st.booleans(), DAMAGE, st.integers(1, 3), st.integers(0, 30))
def test_the_newest_checkpoint_is_found_as_before(
    steps: list[tuple[str, int, int]], ends: bool, damage: list[tuple[str, int]], keep: int, interrupted_after: int
) -> None:
    run = History()
    run.take_over()
    for step, number, rounds in steps:
        if step == "take_over":
            run.take_over()
        elif step in ("tear", "drop"):
            getattr(run, step)(number)
        else:
            run.commit(number, rounds, whole=step == "commit")
    if ends:
        run.take_over()
        run.commit(-1, 1, finished=True)
    for kind, number in damage:
        getattr(run, kind)(number)
    before = run.checkpoints.newest()
    names, store = open_store(run.uri).list("epochs"), open_store(run.uri)

    markers = {n: Epoch.from_json(store.read(layout.epoch_marker(n))) for n, _ in run.chiefs}
    gone = removable(names, markers, lambda name: read(store.read(name)), keep)
    for name in gone[:interrupted_after]:
        store.delete(name)
    assert found(run) == (before.name, before.documents, before.highest_epoch)
    prune_checkpoints(run.uri, keep)
    assert found(run) == (before.name, before.documents, before.highest_epoch)
    assert prune_checkpoints(run.uri, keep) == 0
    if ends and not damage:
        # What is left: markers, the newest few with their segments, and newer ones that are damaged.
        left = [n for n in store.list("epochs") if n.endswith("manifest.json")]
        assert sum(read(store.read(n)) is not None for n in left) <= keep
    run.take_over()
    run.commit(-1, 1)
    newest = run.checkpoints.newest()
    assert newest.documents[:-1] == before.documents
    fsspec.filesystem("memory").rm(run.uri.removeprefix("memory:/"), recursive=True)


def found(run: History) -> tuple[str, tuple[bytes, ...], int]:
    newest = run.checkpoints.newest()
    return newest.name, newest.documents, newest.highest_epoch


def read(data: bytes) -> Manifest | None:
    return None if data == b"{" else Manifest.from_json(data)


def test_a_storage_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = History()
    run.take_over()
    run.commit(0, 1)
    run.commit(0, 1)

    def refuse(_self: object, _path: str) -> None:
        raise OSError("Forbidden: storage.objects.delete")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "rm_file", refuse)
    with pytest.raises(TrainingFailure, match=f"{run.uri}: .*Forbidden") as caught:
        prune_checkpoints(run.uri, 1)
    assert caught.value.reason is FailureReason.PERMISSION_DENIED
