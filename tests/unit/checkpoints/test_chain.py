"""Which checkpoint a chief resumes from."""

from trainer.contract import layout
from trainer.contract.chain import Candidate, Epoch, candidates, epochs_in


def marker(epoch: int, parent: str = "") -> Epoch:
    return Epoch(job_id="job", epoch=epoch, chief=f"chief-{epoch}", parent=parent)


def manifests(*pairs: tuple[int, int]) -> list[str]:
    return [layout.manifest(epoch, boundary) for epoch, boundary in pairs]


def chain(names: list[str], markers: dict[int, Epoch | None]) -> list[tuple[int, int]]:
    return [(c.epoch, c.round) for c in candidates(names, markers)]


def test_nothing_is_there_at_first() -> None:
    assert chain([], {}) == []


def test_the_highest_committed_round_comes_first() -> None:
    assert chain(manifests((1, 100), (1, 1000), (1, 200)), {1: marker(1)}) == [(1, 1000), (1, 200), (1, 100)]


def test_an_epoch_without_commits_continues_its_parent() -> None:
    names = manifests((1, 100), (1, 200))
    assert chain(names, {1: marker(1), 2: marker(2, layout.manifest(1, 100))}) == [(1, 100)]


def test_what_a_zombie_commits_after_the_take_over_is_never_resumed_from() -> None:
    names = manifests((1, 100), (1, 200), (1, 300), (2, 200))
    markers = {1: marker(1), 2: marker(2, layout.manifest(1, 100))}
    assert chain(names, markers) == [(2, 200), (1, 100)]


def test_a_chain_over_three_epochs_skips_what_no_parent_leads_to() -> None:
    names = manifests((1, 100), (1, 200), (2, 300), (2, 400), (3, 500))
    markers = {1: marker(1), 2: marker(2, layout.manifest(1, 100)), 3: marker(3, layout.manifest(1, 200))}
    assert chain(names, markers) == [(3, 500), (1, 200), (1, 100)]


def test_an_epoch_that_started_from_nothing_hides_all_before() -> None:
    assert chain(manifests((1, 100)), {1: marker(1), 2: marker(2)}) == []


def test_a_marker_that_cannot_be_read_leads_to_the_epoch_below() -> None:
    names = manifests((1, 100), (2, 200))
    assert chain(names, {1: marker(1), 2: None}) == [(2, 200), (1, 100)]


def test_a_loop_of_parents_ends() -> None:
    assert chain(manifests((1, 100)), {1: marker(1, layout.manifest(1, 100))}) == [(1, 100)]


def test_other_names_are_no_checkpoints() -> None:
    names = ["epochs/000001/rounds/00000100/segment.ubj", "epochs/x/epoch.json", "outcome.json", layout.epoch_marker(3)]
    assert candidates(names, {3: marker(3)}) == []
    assert epochs_in(names) == [3]


def test_a_candidates_name_is_its_manifest() -> None:
    assert Candidate(epoch=2, round=300).name == "epochs/000002/rounds/00000300/manifest.json"
