"""The last task: a promotion that no server serves is noticed, and by whom."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from f1_training.core.plan import RunPlan
from f1_training.core.settings import ServingSettings
from f1_training.operators import ServeOperator
from f1_training.operators import serve as module
from tests.fakes.run_plan import make_plan, settings

MODEL, VERSION = "tire_degradation", "20260101-000000-aaaaaa"
PROMOTED = {"champion": True, "version": VERSION, "reason": "better"}


class Answers:
    """What the server says: health by health, and of a prediction."""

    def __init__(self) -> None:
        self.health: list[tuple[int, Any]] = [(200, {"model_version": VERSION, "features": ["a", "b"]})]
        self.prediction: tuple[int, Any] = (200, {"predictions": [1.5]})
        self.asked: list[Any] = []
        self.port = 0


@pytest.fixture
def server() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(*(answers.health.pop(0) if len(answers.health) > 1 else answers.health[0]))

        def do_POST(self) -> None:
            answers.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(*answers.prediction)

        def _send(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.port = found.server_address[1]
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield answers
    found.shutdown()
    found.server_close()


@pytest.fixture
def run(server: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(module, "LOOK_S", 0.01)

    def execute(registered: dict[str, Any] = PROMOTED, **changes: Any) -> Any:
        serving = ServingSettings(**{"urls": {MODEL: f"http://127.0.0.1:{server.port}/"}, "within_s": 0.3, **changes})
        plan: RunPlan = make_plan(replace(settings(f"file://{tmp_path}"), serving=serving))
        return ServeOperator(task_id="serve", plan=plan.to_xcom(), registered=registered).execute({})

    return execute


def test_what_was_promoted_is_served_and_predicts(server: Answers, run: Callable[..., Any]) -> None:
    server.health.insert(0, (200, {"model_version": "an older one", "features": []}))
    server.health.insert(0, (503, {"error": "no version was promoted yet"}))
    done = run(within_s=60.0)
    assert (done["version"], done["prediction"]) == (VERSION, 1.5)
    assert server.asked == [{"instances": [{"a": None, "b": None}]}]


def test_a_classifier_s_prediction_is_its_class_and_probabilities(server: Answers, run: Callable[..., Any]) -> None:
    predicted = {"class": "SOFT", "probabilities": [0.25, 0.75]}
    server.prediction = (200, {"predictions": [predicted]})
    assert run()["prediction"] == predicted


@pytest.mark.parametrize(
    ("registered", "urls", "said"),
    [
        ({**PROMOTED, "champion": False, "reason": "is no better"}, None, "the version is not champion: is no better"),
        (PROMOTED, {}, "names no server of tire_degradation"),
    ],
)
def test_there_may_be_nothing_to_see(
    run: Callable[..., Any], registered: dict[str, Any], urls: dict[str, str] | None, said: str
) -> None:
    with pytest.raises(AirflowSkipException, match=said):
        run(registered, **({} if urls is None else {"urls": urls}))


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ((200, {"model_version": "an older one", "features": []}), "does not serve .* within 0 s: an older one"),
        ((503, {"error": "no version was promoted yet"}), "no version was promoted yet"),
        ((200, ["x"]), "an answer that is no object"),
    ],
)
def test_a_version_that_is_not_served_in_time_is_said(
    server: Answers, run: Callable[..., Any], health: tuple[int, Any], said: str
) -> None:
    server.health = [health]
    with pytest.raises(AirflowException, match=f"NetworkTimeout: .*{said}"):
        run()


def test_a_server_that_is_not_there_is_said(run: Callable[..., Any]) -> None:
    with pytest.raises(AirflowException, match="NetworkTimeout: http://127.0.0.1:9 does not serve"):
        run(urls={MODEL: "http://127.0.0.1:9"})


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ((500, {"error": "oh"}), "answered 500 to a row of its own features"),
        ((200, {"predictions": ["fast"]}), "predicts 'fast', which is no number"),
        ((200, {"predictions": [[0.5, 0.5]]}), "which is no number"),
        ((200, {"predictions": [{"class": "SOFT", "probabilities": [0.5, None]}]}), "which is no number"),
        ((200, {"predictions": [{"class": "SOFT"}]}), "which is no prediction"),
        ((200, {"predictions": []}), "which is no prediction"),
    ],
)
def test_a_prediction_that_is_none_is_a_bug(
    server: Answers, run: Callable[..., Any], prediction: tuple[int, Any], said: str
) -> None:
    server.prediction = prediction
    with pytest.raises(AirflowException, match=f"Bug: .*{said}"):
        run()
