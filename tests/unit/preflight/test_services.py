"""Checks of services that a deployment may do without: what is not named is skipped, what is named has to work."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from f1_training.core.settings import Settings
from f1_training.preflight.report import Finding, Verdict
from f1_training.preflight.services import Services, service_checks
from tests.fakes.run_plan import settings
from trainer.contract import FailureReason, TrainingFailure

pytestmark = pytest.mark.timeout(60)
MODEL = "tire_degradation"
VERTEX = {"region": "europe-west4", "serving_image": "registry/f1/serving:0.1.0"}
COSTS = {"billing_table": "f1-project.billing.gcp_billing_export_resource_v1_01A2B3_C4D5E6_F7A8B9"}


def found(deployed: Settings, *, vertex: Callable[[], str] = str, bill: Callable[[], str] = str) -> dict[str, Finding]:
    return {f.check: f for f in service_checks(deployed, Services(vertex=vertex, bill=bill))}


def refuse() -> str:
    raise TrainingFailure(FailureReason.PERMISSION_DENIED, "not you")


def test_what_the_settings_do_not_name_is_skipped_and_says_which_setting() -> None:
    findings = found(settings(), vertex=refuse, bill=refuse)
    assert {f.check: f.found.partition(" ")[0] for f in findings.values()} == {
        "Vertex AI": "vertex.region",
        "bill": "costs.billing_table",
        "prediction servers": "serving.urls",
        "Cloud Monitoring": "metrics.exporters",
    }
    assert {f.verdict for f in findings.values()} == {Verdict.SKIP}


@pytest.mark.parametrize(
    ("check", "section", "fix"),
    [
        ("Vertex AI", {"vertex": VERTEX}, "roles/aiplatform.user"),
        ("bill", {"costs": COSTS}, "roles/bigquery.dataViewer"),
    ],
)
def test_what_is_named_is_asked_and_a_refusal_has_its_fix(check: str, section: dict[str, Any], fix: str) -> None:
    deployed = settings(**section)
    passed = found(deployed, vertex=lambda: "all is well", bill=lambda: "all is well")[check]
    assert (passed.verdict, passed.found) == (Verdict.PASS, "all is well")
    failed = found(deployed, vertex=refuse, bill=refuse)[check]
    assert (failed.verdict, failed.found) == (Verdict.FAIL, "PermissionDenied: not you")
    assert fix in failed.fix


@pytest.fixture
def server() -> Iterator[Any]:
    """Answers /health with ``status`` and ``body``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/health"
            status, body = served.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    served: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{served.server_address[1]}/"
    yield served
    served.shutdown()
    served.server_close()
    thread.join(5)


@pytest.mark.parametrize(
    ("status", "body", "verdict", "said"),
    [
        (200, {"model_type": MODEL, "model_version": "v1"}, Verdict.PASS, "serves version v1"),
        (503, {"error": "no champion yet"}, Verdict.PASS, "serves nothing yet: no champion yet"),
        (200, {"model_type": "fuel_consumption"}, Verdict.FAIL, "serves fuel_consumption, not tire_degradation"),
        (404, {"error": "no such path"}, Verdict.FAIL, "answered 404"),
        (200, ["a list"], Verdict.FAIL, "answered 200"),
    ],
)
def test_a_server_has_to_be_the_model_s_though_it_may_have_nothing_to_serve(
    server: Any, status: int, body: Any, verdict: Verdict, said: str
) -> None:
    server.answer = (status, json.dumps(body).encode())
    finding = found(settings(serving={"urls": {MODEL: server.url}}))[f"server of {MODEL}"]
    assert (finding.verdict, said in finding.found) == (verdict, True), finding.found


def test_what_is_no_server_and_what_does_not_answer_fail_each_by_itself(server: Any) -> None:
    server.answer = (502, b"<html>bad gateway</html>")
    urls = {MODEL: server.url, "next_lap": "http://127.0.0.1:9"}
    findings = found(settings(serving={"urls": urls}))
    for model in urls:
        finding = findings[f"server of {model}"]
        assert finding.verdict is Verdict.FAIL
        assert finding.found.startswith("NetworkTimeout: http://127.0.0.1:")
        assert "serving.urls" in finding.fix


@pytest.fixture
def cloud() -> Iterator[Any]:
    from tests.fakes.cloud_monitoring import CloudMonitoring

    server = CloudMonitoring()
    yield server
    server.kill()


def monitored(cloud: Any, **changes: Any) -> Settings:
    return settings(metrics={"exporters": ["cloud_monitoring"], "endpoint": cloud.endpoint}, **changes)


def test_a_point_is_written_and_it_is_the_budget(cloud: Any) -> None:
    finding = found(monitored(cloud))["Cloud Monitoring"]
    assert (finding.verdict, finding.found) == (
        Verdict.PASS,
        "a point of custom.googleapis.com/training/cost/budget was written to f1-project",
    )
    (value,) = cloud.values("cost.budget")
    assert value.double_value == 200.0


def test_a_point_that_is_refused_names_the_role(cloud: Any) -> None:
    cloud.refuse = grpc.StatusCode.PERMISSION_DENIED
    finding = found(monitored(cloud))["Cloud Monitoring"]
    assert finding.verdict is Verdict.FAIL
    assert "refused by the test" in finding.found
    assert "roles/monitoring.metricWriter" in finding.fix


def test_without_a_budget_no_point_is_made_up(cloud: Any) -> None:
    finding = found(monitored(cloud, costs={"monthly_usd": {}}))["Cloud Monitoring"]
    assert finding.verdict is Verdict.SKIP
    assert cloud.asked == 0
