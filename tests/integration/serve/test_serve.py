"""The prediction server as a process: what it serves, what it refuses, and a new champion under load."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from composer.local.places import REPOSITORY
from f1_training.registry.store import Change, Registry
from tests.fakes.prediction_server import PROGRAM, START_S, Server, environment, free_port, serving
from tests.fakes.served_models import FEATURES, booster, card_of
from trainer.boosters import engine_for
from trainer.contract import Engine
from trainer.contract.outcome import EXIT_CODES, FailureReason

pytestmark = pytest.mark.timeout(400)

MODEL = "tire_degradation"
AT = "2026-11-27T00:00:00Z"
SWAP_S = 30.0


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"file://{tmp_path}/models")


def registered(registry: Registry, version: str, rounds: int = 5, engine: Engine = Engine.XGBOOST) -> bytes:
    """A version of the model, made champion; its booster."""
    document = booster(engine, rounds)
    card = card_of(document, version, engine)
    registry.register(card, document)
    registry.promote(card, "better", AT)
    return document


def refused(uri: str) -> tuple[int, str]:
    """How a server ends that does not start."""
    done = subprocess.run(
        PROGRAM, env=environment(uri, free_port()), cwd=REPOSITORY,
        capture_output=True, text=True, timeout=START_S, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def row(**changed: float | None) -> dict[str, float | None]:
    return {**dict.fromkeys(FEATURES, 0.5), **changed}


@pytest.mark.parametrize("engine", list(Engine))
def test_it_predicts_what_the_library_predicts(registry: Registry, tmp_path: Path, engine: Engine) -> None:
    document = registered(registry, "20260101-000000-aaaaaa", engine=engine)
    rows = [row(), row(**{FEATURES[0]: None}), row(**{FEATURES[0]: -2.0})]
    values = np.array([[np.nan if r[f] is None else r[f] for f in FEATURES] for r in rows], np.float32)
    with serving(f"file://{tmp_path}/models/{MODEL}") as server:
        health = server.get("/health")
        assert (health["status"], health["model_version"]) == ("ok", "20260101-000000-aaaaaa")
        assert health["features"] == list(FEATURES)
        status, body, version = server.post({"instances": rows})
        assert (status, version) == (200, "20260101-000000-aaaaaa")
        assert body["predictions"] == engine_for(engine).predict(document, values).tolist()
        many = server.post({"instances": rows * 1000})[1]["predictions"]
        assert many == body["predictions"] * 1000

        document_ = server.get("/openapi.json")
        described = document_["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        assert server.post(described["example"])[0] == 200
        assert set(document_["components"]["schemas"]["Row"]["properties"]) == set(FEATURES)
        with urllib.request.urlopen(f"{server.url}/docs", timeout=20) as page:
            assert page.status == 200


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"{", 400, "not JSON"),
        (b"\x00\xff", 400, "not JSON"),
        ({"instances": [{}]}, 422, FEATURES[0]),
        ({"instances": [row(), {**row(), "mood": 1.0}]}, 422, "row 1 has the unknown field 'mood'"),
        ({"instances": [{**row(), FEATURES[2]: "soft"}]}, 422, f"row 0: '{FEATURES[2]}' is 'soft'"),
        ({"rows": []}, 422, "'rows'"),
        (b'{"instances": [' + b'"x",' * 5_000_000 + b'"x"]}', 413, "send fewer rows"),
    ],
)
def test_a_malformed_body_is_refused_by_name(served: Server, body: Any, status: int, named: str) -> None:
    found, answer, _ = served.post(body)
    assert found == status
    assert named in answer["error"]
    assert served.post({"instances": [row()]})[0] == 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    registered(Registry(f"file://{folder}"), "20260101-000000-aaaaaa")
    with serving(f"file://{folder}/{MODEL}") as server:
        yield server


def test_a_single_version_is_served_under_vertex_s_routes(registry: Registry, tmp_path: Path) -> None:
    registered(registry, "20260101-000000-aaaaaa")
    uri = f"file://{tmp_path}/models/{MODEL}/20260101-000000-aaaaaa"
    routes = {"AIP_HEALTH_ROUTE": "/v1/models/1", "AIP_PREDICT_ROUTE": "/v1/models/1:predict"}
    with serving(uri, **routes) as server:
        assert server.post({"instances": [row()]}, "/v1/models/1:predict")[0] == 200


def test_a_new_champion_is_served_without_a_failed_request(registry: Registry, tmp_path: Path) -> None:
    registered(registry, "20260101-000000-aaaaaa", rounds=5)
    with serving(f"file://{tmp_path}/models/{MODEL}") as server:
        statuses: list[int] = []
        versions: list[str] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                status, _, version = server.post({"instances": [row()]})
                statuses.append(status)
                versions.append(version)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            registered(registry, "20260201-000000-bbbbbb", rounds=9, engine=Engine.LIGHTGBM)
            until(lambda: "20260201-000000-bbbbbb" in versions, "the new champion answers")
            change = Change(who="ann", reason="it was not better", at=AT)
            registry.roll_back(MODEL, "", change)
            until(lambda: versions[-1] == "20260101-000000-aaaaaa", "the old champion answers again")
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert set(statuses) == {200}
        assert len(statuses) > 100


def test_a_champion_that_is_broken_is_not_served_and_the_old_one_goes_on(registry: Registry, tmp_path: Path) -> None:
    registered(registry, "20260101-000000-aaaaaa")
    with serving(f"file://{tmp_path}/models/{MODEL}") as server:
        document = booster(Engine.XGBOOST, 7)
        card = card_of(document, "20260201-000000-bbbbbb")
        registry.register(card, document)
        broken = tmp_path / "models" / MODEL / card.model_version / card.booster
        broken.write_bytes(document[:-1] + b"x")
        registry.promote(card, "better", AT)
        lines = iter(server.process.stdout or [])
        said = next(line for line in lines if "not served" in line)
        assert "is not the model that was registered" in said
        assert "20260101-000000-aaaaaa goes on serving" in said
        assert server.get("/health")["model_version"] == "20260101-000000-aaaaaa"


def test_it_can_wait_for_the_first_champion(registry: Registry, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/models/{MODEL}"
    port = free_port()
    process = subprocess.Popen(
        PROGRAM, env=environment(uri, port, SERVE_WAIT="1"), cwd=REPOSITORY,
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until(lambda: status_of(f"http://127.0.0.1:{port}/health") == 503, "it waits")
        registered(registry, "20260101-000000-aaaaaa")
        until(lambda: status_of(f"http://127.0.0.1:{port}/health") == 200, "it serves")
    finally:
        process.terminate()
        process.wait(20)


def test_told_to_stop_it_loses_no_request(registry: Registry, tmp_path: Path) -> None:
    registered(registry, "20260101-000000-aaaaaa")
    body = json.dumps({"instances": [row()]}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    with serving(f"file://{tmp_path}/models/{MODEL}", SERVE_DRAIN_S="60") as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address, 20) as slow, slow.makefile("rb") as answer:
            slow.sendall(head.encode())
            assert answer.readline().startswith(b"HTTP/1.1 100")  # its request has begun
            assert answer.readline() == b"\r\n"
            server.process.send_signal(signal.SIGTERM)
            until(lambda: status_of(f"{server.url}/health") == 503, "clients are sent elsewhere")
            assert server.post({"instances": [row()]})[0] == 200  # by one that does not know it yet
            server.process.send_signal(signal.SIGTERM)
            until(lambda: status_of(f"{server.url}/health") == 0, "nobody is let in any more")
            slow.sendall(body)
            assert answer.readline().startswith(b"HTTP/1.1 200")
            assert b'{"predictions":[' in answer.read()
        assert server.process.wait(20) == 0


def test_told_to_stop_while_it_starts_it_does(registry: Registry, tmp_path: Path) -> None:
    """As the first process of a container it would not end by itself: the kernel spares such a process."""
    registered(registry, "20260101-000000-aaaaaa")
    # Coverage has a handler of its own, which is there first.
    variables = environment(f"file://{tmp_path}/models/{MODEL}", free_port())
    variables = {name: value for name, value in variables.items() if not name.startswith("COVERAGE")}
    process = subprocess.Popen(
        PROGRAM, env=variables, cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        until(lambda: catches(process.pid, signal.SIGTERM), "it has begun")
        process.terminate()
        said, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait(20)
    assert process.returncode == EXIT_CODES[FailureReason.PREEMPTED], said
    assert "the pod was told to stop" in said


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for the signal."""
    (mask,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def status_of(url: str) -> int:
    """The status of a page; 0 where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def test_what_cannot_be_served_ends_at_once_with_the_reason(registry: Registry, tmp_path: Path) -> None:
    code, said = refused(f"file://{tmp_path}/models/{MODEL}")
    assert code == EXIT_CODES[FailureReason.CONFIG_INVALID]
    assert "no version was ever promoted" in said
    registered(registry, "20260101-000000-aaaaaa")
    (tmp_path / "models" / MODEL / "20260101-000000-aaaaaa" / "booster.ubj").write_bytes(b"torn")
    code, said = refused(f"file://{tmp_path}/models/{MODEL}")
    assert code == EXIT_CODES[FailureReason.DATA_INVALID]
    assert "is not served" in said


def until(look: Any, what: str) -> None:
    end = time.monotonic() + SWAP_S
    while not look():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)
