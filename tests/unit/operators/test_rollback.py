"""Rolling back: one step, said by whom and why, never to something that is not there."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from composer import models
from f1_training.core.costs import EstimatedCost
from f1_training.core.settings import Settings
from f1_training.operators import RollBackOperator
from f1_training.operators.register import CHAMPIONS
from f1_training.registry.store import Registry
from tests.fakes.run_plan import BOOSTER, make_plan, settings
from tests.unit.registry.test_store import make_card

MODEL = "tire_degradation"
VERSIONS = ("20260101-000000-aaaaaa", "20260201-000000-bbbbbb", "20260301-000000-cccccc")


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = settings(f"file://{tmp_path}")
    monkeypatch.setattr("f1_training.operators.rollback.deployed_settings", lambda: made)
    return made


@pytest.fixture
def registry(deployed: Settings) -> Registry:
    """Three versions, each of which replaced the one before."""
    found = Registry(deployed.uris.models)
    for version in VERSIONS:
        card = make_card(make_plan(), version)
        found.register(card, BOOSTER)
        found.promote(card, f"{version} is better", "2026-03-01T00:00:00Z")
    return found


def roll_back(version: str = "", reason: str = "it braked too late", **context: Any) -> dict[str, str]:
    operator = RollBackOperator(task_id="roll_back", model_type=MODEL, version=version, reason=reason)
    run = SimpleNamespace(run_id="manual__1", triggering_user_name="ann")
    done: dict[str, str] = operator.execute({"dag_run": run, **context})
    return done


def test_it_goes_back_to_the_predecessor_and_says_by_whom(registry: Registry) -> None:
    assert roll_back() == {"version": VERSIONS[1], "previous_version": VERSIONS[2]}
    newest = registry.history(MODEL)[-1]
    assert (newest.model_version, newest.reason, newest.run_id) == (
        VERSIONS[1], "rolled back by ann: it braked too late", "manual__1",
    )  # fmt: skip
    assert registry.versions(MODEL) == list(VERSIONS)


def test_a_second_step_goes_further_back_and_not_forth(registry: Registry) -> None:
    assert [roll_back()["version"] for _ in range(2)] == [VERSIONS[1], VERSIONS[0]]
    with pytest.raises(AirflowFailException, match="name the version to go back to"):
        roll_back()
    assert registry.champion(MODEL).version == VERSIONS[0]  # type: ignore[union-attr]


def test_a_version_can_be_named_and_naming_it_again_changes_nothing(registry: Registry) -> None:
    for _ in range(2):
        assert roll_back(VERSIONS[0])["version"] == VERSIONS[0]
    assert len(registry.history(MODEL)) == 4


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("version", "reason", "said"),
    [
        ("20200101-000000-dddddd", "why not", "is not there; versions of tire_degradation: 20260101-000000-aaaaaa"),
        ("", " ", "reason is empty; say why"),
        ("../x", "why not", "cannot name a folder"),
    ],
)
def test_what_cannot_be_is_refused(version: str, reason: str, said: str) -> None:
    with pytest.raises(AirflowFailException, match=said):
        roll_back(version, reason)


@pytest.mark.usefixtures("deployed")
def test_without_a_champion_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(AirflowFailException, match="has no champion that replaced another"):
        roll_back()


@pytest.mark.usefixtures("registry")
def test_it_is_an_event_of_the_model_s_asset() -> None:
    added: list[Any] = []
    events = SimpleNamespace(add=lambda asset, extra: added.append((asset.name, extra["version"])))
    roll_back(outlet_events={CHAMPIONS: events})
    assert added == [(f"f1_model.{MODEL}.champion", VERSIONS[1])]


def test_the_list_shows_who_serves_and_why(registry: Registry) -> None:
    cost = EstimatedCost(estimated_usd=0.384, hours=0.37, machines="2 n1-standard-8", basis="estimated")
    card = replace(make_card(make_plan(), "20260401-000000-dddddd"), cost=cost)
    registry.register(card, BOOSTER)
    roll_back()
    listed = list(models.rows(registry, MODEL, last=3))
    assert [(row[1], row[2]) for row in listed] == [
        ("20260401-000000-dddddd", ""), (VERSIONS[2], ""), (VERSIONS[1], "champion"),
    ]  # fmt: skip
    assert listed[0][5:] == ("557 ms", "", "807 ms", "0.38", "not promoted")
    assert listed[1][8] == "", "its card is from before costs were kept"
    assert listed[2][9].startswith("rolled back by ann")
