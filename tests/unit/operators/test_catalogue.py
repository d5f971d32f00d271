"""A file of the catalogue that cannot be read: who hears of it, and which runs fail."""

import json
import logging

import pytest
from airflow.sdk.exceptions import AirflowFailException

from f1_training.operators import plan_models, require_readable, with_problems
from f1_training.operators.catalogue import CatalogueWarning
from tests.unit.operators.test_planning import VARIABLE, context
from trainer.contract import Catalogue, read_catalogue

PROBLEM = "bad.toml: rounds: is missing"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    found = Catalogue(entries=read_catalogue().entries, problems={"bad": PROBLEM})
    for module in ("catalogue", "planning"):
        monkeypatch.setattr(f"f1_training.operators.{module}.read_catalogue", lambda: found)
    return found


@pytest.mark.usefixtures("broken")
def test_a_run_for_all_models_fails_for_it_in_a_task_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        AirflowFailException, match=r"^ConfigInvalid: bad cannot be trained: bad\.toml: rounds: is miss"
    ):
        require_readable(context(model_type="all"))
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [PROBLEM]


@pytest.mark.usefixtures("broken")
def test_a_run_of_another_model_only_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    require_readable(context())
    assert PROBLEM in caplog.text


def test_nothing_is_said_of_files_that_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    require_readable(context(model_type="all"))
    assert caplog.text == ""
    assert with_problems("### doc", read_catalogue()) == "### doc"


@pytest.mark.usefixtures("broken")
def test_the_plans_of_the_others_are_made_and_the_log_has_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_F1_TRAINING", json.dumps(VARIABLE))
    plans = plan_models(context(model_type="all"))
    assert {plan["entry"]["model_type"] for plan in plans} == {e.model_type for e in read_catalogue().weekly()}
    assert f"not trained: {PROBLEM}" in caplog.text
    with pytest.raises(AirflowFailException, match=r"^ConfigInvalid: model_type: 'bad' cannot be trained: bad\.toml"):
        plan_models(context(model_type="bad"))


def test_the_dag_s_documentation_begins_with_it(broken: Catalogue) -> None:
    with pytest.warns(CatalogueWarning, match="bad.toml: rounds"):
        doc = with_problems("\n### doc", broken)
    assert doc.startswith("**Not trained: `bad`.**")
    assert f"- `{PROBLEM}`\n\n### doc" in doc
