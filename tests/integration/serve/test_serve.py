"""The prediction server as a process: what it serves, what it refuses, and a new champion under load."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from composer.local.places import REPOSITORY
from f1_training.core.plan import RunPlan
from f1_training.core.specs import training_spec
from f1_training.registry.card import Inputs, ModelCard, model_card
from f1_training.registry.store import Change, Registry
from tests.fakes.run_plan import (
    evaluation_result,
    held_out_snapshot,
    make_plan,
    training_result,
    training_snapshot,
)
from trainer.boosters import engine_for
from trainer.contract import Engine
from trainer.contract.outcome import EXIT_CODES, FailureReason

pytestmark = pytest.mark.timeout(400)

MODEL = "tire_degradation"
AT = "2026-11-27T00:00:00Z"
FEATURES = make_plan().entry.features
START_S, SWAP_S = 60.0, 30.0


def booster(engine: Engine, rounds: int) -> bytes:
    """A small model of the catalogue's features that really learned something, as the library writes it."""
    generator = np.random.default_rng(rounds)
    rows = generator.normal(size=(400, len(FEATURES))).astype(np.float32)
    target = 100 * rows[:, 0] + rounds
    if engine is Engine.XGBOOST:
        import xgboost

        data = xgboost.DMatrix(rows, target)
        return bytes(xgboost.train({"max_depth": 3, "nthread": 1}, data, rounds).save_raw("ubj"))
    import lightgbm

    params = {"num_leaves": 7, "num_threads": 1, "verbosity": -1}
    return lightgbm.train(params, lightgbm.Dataset(rows, target), rounds).model_to_string().encode()


def card_of(plan: RunPlan, document: bytes, version: str, engine: Engine = Engine.XGBOOST) -> ModelCard:
    plan = replace(plan, model_version=version, entry=replace(plan.entry, engine=engine))
    result = training_result(plan, document)
    inputs = Inputs(spec=training_spec(plan, training_snapshot(plan), 1), test_snapshot=held_out_snapshot(plan))
    return model_card(plan, inputs, result, evaluation_result(plan, result))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"file://{tmp_path}/models")


def registered(registry: Registry, version: str, rounds: int = 5, engine: Engine = Engine.XGBOOST) -> bytes:
    """A version of the model, made champion; its booster."""
    document = booster(engine, rounds)
    card = card_of(make_plan(), document, version, engine)
    registry.register(card, document)
    registry.promote(card, "better", AT)
    return document


class Server:
    """A server that answers on a port of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return json.load(answer)

    def post(self, body: Any, path: str = "/predict") -> tuple[int, Any, str]:
        """Status, body and the version that answered."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer), answer.headers["x-model-version"]
        except urllib.error.HTTPError as e:
            return e.code, json.load(e), e.headers["x-model-version"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def environment(uri: str, port: int, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AIP_STORAGE_URI": uri,
        "AIP_HTTP_PORT": str(port),
        "SERVE_HOST": "127.0.0.1",
        "SERVE_POLL_S": "1",
        **more,
    }


@contextlib.contextmanager
def serving(uri: str, **more: str) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.serve"], env=environment(uri, port, **more), cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    server = Server(process, port)
    end = time.monotonic() + START_S
    try:
        while True:
            with contextlib.suppress(OSError):
                server.get(more.get("AIP_HEALTH_ROUTE", "/health"))
                break
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end, "the server did not come up"
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def refused(uri: str) -> tuple[int, str]:
    """How a server ends that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "trainer.serve"], env=environment(uri, free_port()), cwd=REPOSITORY,
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
        assert set(described["schema"]["properties"]["instances"]["items"]["properties"]) == set(FEATURES)
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
        card = card_of(make_plan(), document, "20260201-000000-bbbbbb")
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
        [sys.executable, "-m", "trainer.serve"], env=environment(uri, port, SERVE_WAIT="1"), cwd=REPOSITORY,
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:

        def status() -> int:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as e:
                return e.code
            except OSError:
                return 0

        until(lambda: status() == 503, "it waits")
        registered(registry, "20260101-000000-aaaaaa")
        until(lambda: status() == 200, "it serves")
    finally:
        process.terminate()
        process.wait(20)


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
