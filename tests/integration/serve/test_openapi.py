"""Whatever follows from the OpenAPI document, and whatever does not, is answered as the document says."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.fakes.served_models import version_folder
from trainer.contract import Engine, Objective
from trainer.logs import open_log
from trainer.serve.app import AppSettings, make_app
from trainer.serve.model import load, source_of
from trainer.serve.serving import Serving

#: Always the same ones.
EXAMPLES = settings(
    max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The document of a server of a classifier, and the application behind it."""
    folder = tmp_path_factory.mktemp("served") / "version"
    uri = version_folder(folder, Engine.XGBOOST, Objective.MULTICLASS, ("HARD", "MEDIUM", "SOFT"))
    serving = Serving(model=load(uri), source=source_of(uri), log=open_log("", io.StringIO()))
    app = make_app(serving, AppSettings(health_route="/health", predict_route="/predict", poll_s=3600.0))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def asked(description: Any, path: str, method: str, mode: Any) -> list[tuple[Any, Any]]:
    """Requests that the document's schema makes in ``mode``, each with its answer, which fits the document."""
    found: list[tuple[Any, Any]] = []

    @EXAMPLES
    @given(case=description[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # Every check of schemathesis: no error of the server, status and body as documented, no other method, ...
        found.append((case, case.call_and_validate()))

    ask()
    return found


def test_what_the_document_allows_is_answered(description: Any) -> None:
    answers = asked(description, "/predict", "POST", schemathesis.GenerationMode.POSITIVE)
    assert {answer.status_code for _, answer in answers} == {200}
    for case, answer in answers:
        assert len(answer.json()["predictions"]) == len(case.body["instances"])
    assert max(len(case.body["instances"]) for case, _ in answers) > 1


def test_what_it_does_not_allow_is_refused_with_the_field(description: Any) -> None:
    answers = asked(description, "/predict", "POST", schemathesis.GenerationMode.NEGATIVE)
    statuses = Counter(answer.status_code for _, answer in answers)
    assert set(statuses) <= {400, 415, 422}, statuses
    assert statuses[422] > len(answers) / 2
    for case, answer in answers:
        if isinstance(case.body, dict) and answer.status_code == 422:
            assert all("field" in p or "row" in p for p in answer.json()["problems"]), answer.text


@pytest.mark.parametrize("path", ["/health", "/live"])
def test_what_takes_no_input_answers_as_documented(description: Any, path: str) -> None:
    ((_, answer),) = asked(description, path, "GET", schemathesis.GenerationMode.POSITIVE)
    assert answer.status_code == 200
