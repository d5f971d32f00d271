"""Versions never change, and of two who move an alias one is refused and looks again."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from f1_training.core.plan import RunPlan
from f1_training.core.specs import training_spec
from f1_training.registry.card import Inputs, ModelCard, model_card
from f1_training.registry.store import AliasEvent, Registry
from tests.fakes.run_plan import (
    BOOSTER,
    evaluation_result,
    held_out_snapshot,
    make_plan,
    training_result,
    training_snapshot,
)
from trainer.contract import ContractError, FailureReason, TrainingFailure
from trainer.contract.objects import sha256

AT = "2026-11-23T22:30:00Z"


def make_card(plan: RunPlan, version: str = "", booster: bytes = BOOSTER, attempt: int = 1) -> ModelCard:
    result = training_result(plan, booster)
    inputs = Inputs(spec=training_spec(plan, training_snapshot(plan), attempt), test_snapshot=held_out_snapshot(plan))
    planned = replace(plan, model_version=version or plan.model_version)
    return model_card(planned, inputs, result, evaluation_result(plan, result))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"file://{tmp_path}/models")


PLAN = make_plan()
CARD = make_card(PLAN)


def test_a_version_is_there_with_its_card(registry: Registry) -> None:
    registered = registry.register(CARD, BOOSTER)
    assert registered.model_uri.endswith(f"/models/tire_degradation/{CARD.model_version}/booster.ubj")
    assert Path(registered.model_uri.removeprefix("file://")).read_bytes() == BOOSTER
    assert registry.model("tire_degradation", CARD.model_version) == registered
    assert registry.versions("tire_degradation") == [CARD.model_version]


def test_registering_again_changes_nothing(registry: Registry) -> None:
    assert registry.register(CARD, BOOSTER) == registry.register(CARD, BOOSTER)


def test_the_same_model_from_a_later_attempt_keeps_the_first_card(registry: Registry) -> None:
    registry.register(CARD, BOOSTER)
    again = registry.register(make_card(PLAN, attempt=2), BOOSTER)
    assert again.card == CARD


def test_a_version_never_changes(registry: Registry) -> None:
    registry.register(CARD, BOOSTER)
    with pytest.raises(TrainingFailure, match="a version never changes, so start a new run") as caught:
        registry.register(make_card(PLAN, booster=b"another"), b"another")
    assert caught.value.reason is FailureReason.BUG
    assert registry.model("tire_degradation", CARD.model_version).card.sha256 == sha256(BOOSTER)


def test_a_booster_that_is_not_the_card_s_is_refused(registry: Registry) -> None:
    with pytest.raises(TrainingFailure, match="not the one that its card names"):
        registry.register(CARD, b"another")
    assert registry.versions("tire_degradation") == []


def test_a_version_without_a_card_does_not_exist(registry: Registry, tmp_path: Path) -> None:
    half = tmp_path / "models" / "tire_degradation" / "20260101-000000-abcdef"
    half.mkdir(parents=True)
    (half / "booster.ubj").write_bytes(BOOSTER)
    assert registry.versions("tire_degradation") == []
    with pytest.raises(TrainingFailure, match="is not there; versions of tire_degradation: none"):
        registry.model("tire_degradation", "20260101-000000-abcdef")


def test_there_is_no_champion_at_first(registry: Registry) -> None:
    assert registry.champion("tire_degradation") is None
    assert registry.history("tire_degradation") == []


def test_the_champion_and_how_it_came_about(registry: Registry) -> None:
    for version in ("20260101-000000-aaaaaa", "20260108-000000-bbbbbb"):
        card = make_card(PLAN, version)
        registry.register(card, BOOSTER)
        registry.promote(card, f"because of {version}", AT)
    champion = registry.champion("tire_degradation")
    assert champion is not None
    assert champion.version == "20260108-000000-bbbbbb"
    history = [(e.number, e.model_version, e.previous_version) for e in registry.history("tire_degradation")]
    assert history == [
        (1, "20260101-000000-aaaaaa", ""),
        (2, "20260108-000000-bbbbbb", "20260101-000000-aaaaaa"),
    ]
    assert registry.versions("tire_degradation") == ["20260101-000000-aaaaaa", "20260108-000000-bbbbbb"]


def test_promoting_the_champion_again_is_no_event(registry: Registry) -> None:
    assert registry.promote(CARD, "first", AT) == registry.promote(CARD, "second", "2026-11-24T00:00:00Z")
    assert len(registry.history("tire_degradation")) == 1


def test_of_two_writers_the_second_looks_again(registry: Registry) -> None:
    """Another version is promoted between the look and the write: the writer sees it before it decides again."""
    other, mine = make_card(PLAN, "20260101-000000-aaaaaa"), make_card(PLAN, "20260108-000000-bbbbbb")
    seen: list[str | None] = []

    def wanted(newest: AliasEvent | None) -> bool:
        seen.append(newest.model_version if newest else None)
        if newest is None:
            registry.promote(other, "came first", AT)
        return True

    event = registry.promote(mine, "mine", AT, wanted)
    assert event is not None
    assert seen == [None, other.model_version]
    assert (event.number, event.previous_version) == (2, other.model_version)


def test_a_newer_champion_that_came_first_stays(registry: Registry) -> None:
    newer, mine = make_card(PLAN, "20260108-000000-bbbbbb"), make_card(PLAN, "20260101-000000-aaaaaa")

    def wanted(newest: AliasEvent | None) -> bool:
        if newest is None:
            registry.promote(newer, "came first", AT)
        return newest is None or newest.model_version < mine.model_version

    assert registry.promote(mine, "mine", AT, wanted) is None
    assert [e.model_version for e in registry.history("tire_degradation")] == [newer.model_version]


def test_writers_that_never_agree_give_up(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def wanted(_: AliasEvent | None) -> bool:
        nonlocal count
        count += 1
        registry.promote(make_card(PLAN, f"2026010{count}-000000-cccccc"), "came first", AT)
        return True

    monkeypatch.setattr("f1_training.core.numbered.WRITERS", 3)
    with pytest.raises(TrainingFailure, match="changes all the time"):
        registry.promote(CARD, "mine", AT, wanted)


def test_many_writers_at_once_leave_one_history_without_gaps(tmp_path: Path) -> None:
    cards = [make_card(PLAN, f"2026010{i}-000000-dddddd") for i in range(1, 6)]
    barrier = threading.Barrier(len(cards))
    promoted: list[AliasEvent | None] = []

    def write(card: ModelCard) -> None:
        mine = Registry(f"file://{tmp_path}/models")
        barrier.wait(10)
        promoted.append(mine.promote(card, "me", AT))

    threads = [threading.Thread(target=write, args=(card,)) for card in cards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    history = Registry(f"file://{tmp_path}/models").history("tire_degradation")
    assert [e.number for e in history] == [1, 2, 3, 4, 5]
    assert {e.model_version for e in history} == {c.model_version for c in cards}
    assert [e.previous_version for e in history] == ["", *(e.model_version for e in history[:-1])]
    assert len(promoted) == len(cards)


@pytest.mark.parametrize("name", ["..", "a/b", "", "aliases", ".x"])
def test_names_that_lead_elsewhere_are_refused(registry: Registry, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: registry.versions(name),
        lambda: registry.model("tire_degradation", name),
    ]
    for call in calls:
        with pytest.raises(ContractError, match="cannot name a folder"):
            call()
