"""Old versions go, but never one that serves, one to go back to, or one of the newest."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_training.operators import RetireOperator
from f1_training.registry.retirement import made_at, retirable
from f1_training.registry.store import Change, Registry
from tests.fakes.run_plan import BOOSTER, make_plan, settings
from tests.unit.registry.test_store import make_card

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MODEL = "tire_degradation"


def version(days_old: int) -> str:
    return f"{NOW - timedelta(days=days_old):%Y%m%d-%H%M%S}-abcdef"


def test_when_a_version_was_made_is_in_its_name() -> None:
    assert made_at("20261123-221530-3f2a91") == datetime(2026, 11, 23, 22, 15, 30, tzinfo=UTC)
    assert made_at("mine") is None


@given(st.lists(st.integers(0, 400), unique=True), st.integers(0, 8), st.data())
def test_what_is_needed_new_or_among_the_newest_stays(ages: list[int], keep: int, data: st.DataObject) -> None:
    versions = [version(age) for age in ages]
    needed = data.draw(st.lists(st.sampled_from(versions), max_size=2) if versions else st.just([]))
    gone = retirable(versions, needed, NOW, days=90, keep=keep)
    assert set(gone).isdisjoint(needed)
    assert set(gone).isdisjoint(sorted(versions)[len(versions) - keep :] if keep else [])
    assert all(age > 90 for age in ages if version(age) in gone)
    assert len(versions) - len(gone) >= min(keep, len(versions))


def test_the_champion_and_its_predecessor_stay_however_old(tmp_path: Path) -> None:
    registry = Registry(f"file://{tmp_path}")
    ages = [400, 300, 200, 150, 120, 20, 10]
    for age in ages:
        card = make_card(make_plan(), version(age))
        registry.register(card, BOOSTER)
        if age in (400, 300, 150):
            registry.promote(card, "better", "2026-01-01T00:00:00Z")
    gone = registry.retire(MODEL, NOW, days=90, keep=2)
    assert gone == [version(400), version(200), version(120)]
    assert registry.versions(MODEL) == [version(300), version(150), version(20), version(10)]
    assert registry.champion(MODEL).version == version(150)  # type: ignore[union-attr]
    change = Change(who="ann", reason="worse", at="2026-11-27T00:00:00Z")
    assert registry.roll_back(MODEL, "", change).model_version == version(300)
    assert registry.retire(MODEL, NOW, days=90, keep=2) == [version(150)]
    assert not list((tmp_path / MODEL / version(400)).glob("*"))


def test_without_a_champion_only_age_counts(tmp_path: Path) -> None:
    registry = Registry(f"file://{tmp_path}")
    for age in (200, 100, 1):
        registry.register(make_card(make_plan(), version(age)), BOOSTER)
    assert registry.retire(MODEL, NOW, days=90, keep=1) == [version(200), version(100)]
    assert registry.retire(MODEL, NOW, days=90, keep=1) == []


def test_the_task_looks_at_every_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = settings(f"file://{tmp_path}", models_kept=1)
    monkeypatch.setattr("f1_training.operators.rollback.deployed_settings", lambda: deployed)
    registry = Registry(deployed.uris.models)
    for name in ("20200101-000000-aaaaaa", "20200201-000000-bbbbbb"):
        registry.register(make_card(make_plan(), name), BOOSTER)
    assert RetireOperator(task_id="retire").execute({}) == {MODEL: ["20200101-000000-aaaaaa"]}
    assert RetireOperator(task_id="retire").execute({}) == {}
