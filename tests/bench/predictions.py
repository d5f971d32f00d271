"""How long a prediction takes under a steady load: single rows, 200 a second, the server on one core.

Requests are due at fixed times, whether the ones before are answered or not, and a latency counts from when its request
was due: a server that falls behind cannot hide it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from composer.local.places import REPOSITORY
from f1_training.core.plan import RunPlan
from f1_training.core.specs import training_spec
from f1_training.registry.card import Inputs, model_card
from f1_training.registry.store import Registry
from tests.bench.bench import Bench, say
from tests.bench.figures import Figure
from tests.fakes.run_plan import evaluation_result, held_out_snapshot, make_plan, training_result, training_snapshot
from trainer.contract.objects import sha256

FIGURES = ("serve_p99_ms", "serve_failed")
RATE, SECONDS, CONNECTIONS = 200, 15, 8
ROUNDS, DEPTH, ROWS = 800, 6, 50_000
START_S = 60.0


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[Figure]:
    """A model of the size that the catalogue's reaches at most, served and asked."""
    say(f"{RATE} predictions a second")
    folder = bench.stand.folder / "models"
    plan = make_plan()
    _register(folder, plan)
    latencies, failed = [], 0
    with _server(f"file://{folder}/{plan.model_type}") as port:
        row = dict.fromkeys(plan.entry.features, 0.5)
        body = json.dumps({"instances": [row]}).encode()
        for _ in range(bench.samples):
            found, bad = asyncio.run(_load(port, body))
            latencies.append(found)
            failed += bad
    p99 = [float(np.quantile(found, 0.99)) * 1000 for found in latencies]
    p50 = [float(np.median(found)) * 1000 for found in latencies]
    samples = {"p99": [round(v, 2) for v in p99], "p50": [round(v, 2) for v in p50]}
    values = {"serve_p99_ms": statistics.median(p99), "serve_failed": float(failed)}
    note = f"{RATE}/s for {SECONDS} s, the median of {bench.samples} turns; XGBoost, {ROUNDS} rounds of depth {DEPTH}"
    yield from (Figure(figure=name, value=values[name], samples=samples, note=note) for name in wanted)


def _register(folder: Path, plan: RunPlan) -> None:
    import xgboost

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS, len(plan.entry.features))).astype(np.float32)
    target = rows @ generator.normal(size=rows.shape[1]) + generator.normal(size=ROWS)
    params = {"max_depth": DEPTH, "tree_method": "hist", "nthread": 2}
    document = bytes(xgboost.train(params, xgboost.DMatrix(rows, target), ROUNDS).save_raw("ubj"))
    result = training_result(plan, document)
    assert result.sha256 == sha256(document)
    inputs = Inputs(spec=training_spec(plan, training_snapshot(plan), 1), test_snapshot=held_out_snapshot(plan))
    card = model_card(plan, inputs, result, evaluation_result(plan, result))
    registry = Registry(f"file://{folder}")
    registry.register(card, document)
    registry.promote(card, "the benchmark's", "2026-11-27T00:00:00Z")


@contextlib.contextmanager
def _server(uri: str) -> Iterator[int]:
    """A server that has one core to itself."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    cores = sorted(os.sched_getaffinity(0))
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AIP_STORAGE_URI": uri,
        "AIP_HTTP_PORT": str(port),
        "SERVE_HOST": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.serve"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.sched_setaffinity(process.pid, {cores[-1]})
    try:
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            if process.poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"the server is not up (exit code {process.poll()})")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


async def _load(port: int, body: bytes) -> tuple[list[float], int]:
    """Seconds from when each request was due to its answer, and how many were not answered with 200."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    latencies: list[float] = []
    failed = 0
    began = time.perf_counter() + 0.2

    async def connection(number: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(number, RATE * SECONDS, CONNECTIONS):
            due = began + turn / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in answer.lower().split(b"\r\n") if b"content-length" in line
            )
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - due)
            failed += not answer.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))
    return latencies, failed
