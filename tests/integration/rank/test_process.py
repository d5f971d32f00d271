"""A rank process as its driver sees it: quick to start, easy to kill, never left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes.snapshots import made_up_rows, spec_for
from tests.integration.boosters.ranks import fill_cache
from trainer.contract import Engine, FailureReason, TrainingFailure, TrainingSpec
from trainer.rank.fork_server import ForkServer
from trainer.rank.process import RankDied, RankProcess, RankTimeout

pytestmark = pytest.mark.timeout(400)
LONG = {"segment": 0, "first_round": 0, "rounds": 1_000_000, "seed": 1}


@pytest.fixture
def rank(tmp_path: Path) -> Iterator[RankProcess]:
    process = RankProcess(cache_dir=tmp_path)
    yield process
    process.kill()
    assert not psutil.pid_exists(process.pid)


@pytest.fixture
def spec(tmp_path: Path) -> TrainingSpec:
    table = made_up_rows(rows=500)
    spec = spec_for(table, Engine.LIGHTGBM)
    fill_cache(tmp_path, spec, table)
    return spec


def load(rank: RankProcess, spec: TrainingSpec) -> None:
    shards = {split: list(range(6)) for split in spec.snapshot.rows}
    reply, payload = rank.call("load", {"spec": spec.to_json(), "shards": shards}, timeout_s=30)
    assert reply["rows"] == {split: spec.snapshot.total(split) for split in ("train", "validation")}
    assert reply["target_weight"] == spec.snapshot.total("train")
    assert reply["arrow_bytes"] > 0
    assert payload == b""
    rank.call("join", {"rank": 0, "world": 1, "tracker": None, "machines": None, "timeout_s": 5}, timeout_s=5)
    rank.call("build", {"base_score": 90.0}, timeout_s=30)


def test_a_rank_has_not_loaded_what_it_does_not_use(rank: RankProcess, spec: TrainingSpec) -> None:
    pytest.importorskip("sklearn")
    load(rank, spec)
    loaded = {Path(m.path) for m in psutil.Process(rank.pid).memory_maps()}
    assert any("lightgbm" in path.parts for path in loaded)
    assert [path for path in loaded if {"sklearn", "pandas"} & set(path.parts)] == []


def gone(pid: int, within_s: float = 10) -> bool:
    """Whether it ends in time; that nobody has asked for its exit code yet does not count."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_it_starts_without_the_libraries(rank: RankProcess) -> None:
    rank.call("address", {"host": "127.0.0.1"}, timeout_s=20)
    mapped = {Path(m.path).name for m in psutil.Process(rank.pid).memory_maps()}
    assert not {name for name in mapped if "xgboost" in name or "lightgbm" in name or "arrow" in name}


def test_an_address_is_a_port_that_is_held(rank: RankProcess) -> None:
    reply, _ = rank.call("address", {"host": "localhost"}, timeout_s=20)
    assert reply["host"] == "127.0.0.1"
    with socket.socket() as s, pytest.raises(OSError, match="in use"):
        s.bind(("127.0.0.1", reply["port"]))
    with pytest.raises(TrainingFailure, match="COLLECTIVE_HOST: 192.0.2.1 is no address of this machine") as caught:
        rank.call("address", {"host": "192.0.2.1"}, timeout_s=5)
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_progress_is_reported_at_most_twice_a_second(rank: RankProcess, spec: TrainingSpec) -> None:
    load(rank, spec)
    seen: list[tuple[float, int]] = []
    arguments = {**LONG, "first_round": 7, "rounds": 20_000}
    with pytest.raises(RankTimeout, match=r"did not answer 'train' within 1\.8 s"):
        rank.call("train", arguments, timeout_s=1.8, on_progress=lambda p: seen.append((time.monotonic(), p["round"])))
    assert 2 <= len(seen) <= 4
    assert seen[0][1] == 8
    assert seen[-1][1] > seen[0][1]
    # A late answer can belong to nobody: the process is gone, and says so.
    with pytest.raises(RankDied):
        rank.call("leave", timeout_s=5)


def test_kill_wakes_the_call_of_another_thread(rank: RankProcess, spec: TrainingSpec) -> None:
    load(rank, spec)
    training = threading.Event()
    raised: list[BaseException] = []

    def train() -> None:
        try:
            rank.call("train", LONG, timeout_s=40, on_progress=lambda _: training.set())
        except RankDied as e:
            raised.append(e)

    thread = threading.Thread(target=train)
    thread.start()
    assert training.wait(20)
    began = time.monotonic()
    rank.kill()
    thread.join(5)
    assert time.monotonic() - began < 2
    assert "was killed by SIGKILL during 'train'" in str(raised[0])


def test_a_death_tells_the_last_words(tmp_path: Path) -> None:
    # A module that shadows a library stands for one that crashes.
    (tmp_path / "lightgbm.py").write_text("import os, sys; print('out of luck', file=sys.stderr); os.abort()")
    process = RankProcess(cache_dir=tmp_path, environment={"PYTHONPATH": str(tmp_path)})
    spec = spec_for(made_up_rows(rows=60), Engine.LIGHTGBM)
    with pytest.raises(RankDied, match=r"was killed by SIGABRT during 'load': ") as caught:
        process.call("load", {"spec": spec.to_json(), "shards": {}}, timeout_s=20)
    assert caught.value.code == -signal.SIGABRT
    process.kill()
    assert not psutil.pid_exists(process.pid)


def test_reasons_travel(rank: RankProcess, spec: TrainingSpec) -> None:
    failures = {}
    for name, command, arguments in (
        ("params", "load", {"spec": spec.to_json().replace("num_leaves", "num_leafs"), "shards": {}}),
        ("spec", "load", {"spec": "{}", "shards": {}}),
        ("unknown", "dance", {}),
        ("early", "build", {"base_score": 0.0}),
        ("surprise", "load", {}),
    ):
        with pytest.raises(TrainingFailure) as caught:
            rank.call(command, arguments, timeout_s=30)
        failures[name] = (caught.value.reason, str(caught.value))
    assert failures["params"][0] is FailureReason.CONFIG_INVALID
    assert failures["params"][1].startswith("params.num_leafs: LightGBM does not know it")
    assert failures["spec"] == (FailureReason.CONFIG_INVALID, "kind: is None, expected 'training-spec'")
    assert failures["unknown"] == (FailureReason.BUG, "a rank knows no command 'dance'")
    assert failures["early"][0] is FailureReason.BUG
    assert "KeyError: 'spec'" in failures["surprise"][1]


def test_close_and_stop_end_it(tmp_path: Path) -> None:
    processes = [RankProcess(cache_dir=tmp_path) for _ in range(2)]
    processes[0].call("stop", timeout_s=20)
    assert gone(processes[0].pid)
    for process in processes:
        process.close()
        process.close()
        assert not psutil.pid_exists(process.pid)


def test_signals_meant_for_the_pod_do_not_end_it(rank: RankProcess) -> None:
    rank.call("address", {"host": "127.0.0.1"}, timeout_s=20)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(rank.pid, number)
    rank.call("leave", timeout_s=5)


def test_a_rank_is_forked_ready_and_quickly(tmp_path: Path, spec: TrainingSpec) -> None:
    server = ForkServer()
    try:
        server.prepare("lightgbm")
        for _ in range(2):
            process = RankProcess(cache_dir=tmp_path, server=server)
            mapped = {Path(m.path).name for m in psutil.Process(process.pid).memory_maps()}
            assert {name for name in mapped if "lightgbm" in name}
            load(process, spec)
            process.kill()
            assert not psutil.pid_exists(process.pid)
        assert server.is_alive
    finally:
        server.close()
    with pytest.raises(OSError, match=r".*"):
        server.fork(tmp_path)


def test_ranks_die_with_their_server(tmp_path: Path) -> None:
    server = ForkServer()
    process = RankProcess(cache_dir=tmp_path, server=server)
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(RankDied):
        process.call("train", LONG, timeout_s=20)
    process.kill()
    assert gone(process.pid)
    server.close()


def test_a_segment_is_cut_short_at_the_round_that_was_agreed_on(rank: RankProcess, spec: TrainingSpec) -> None:
    load(rank, spec)
    replies = []
    training = threading.Event()

    def train() -> None:
        replies.append(rank.call("train", LONG, timeout_s=40, on_progress=lambda _: training.set()))

    thread = threading.Thread(target=train)
    thread.start()
    assert training.wait(20)
    held = rank.hold(0, within_s=10)
    assert held is not None
    assert held < LONG["rounds"]
    assert rank.hold(0, within_s=10) == held, "asked again, it says the same"
    rank.until(0, held + 2)
    thread.join(20)
    reply, document = replies[0]
    assert reply["rounds"] == len(reply["validation"]) == held + 2
    assert document.count(b"Tree=") == held + 2
    # Python and NumPy alone take more than 20 MiB; the rows are few. It held for a moment, and trained before and after.
    assert 20 << 20 < reply["usage"]["peak_memory_bytes"] < 4 << 30
    assert 0.0 < reply["usage"]["cpus"] < 256


PARENT = """
import sys, threading, time
from pathlib import Path
from trainer.rank.fork_server import ForkServer
from trainer.rank.process import RankProcess
started = []
thread = threading.Thread(target=lambda: started.append(RankProcess(cache_dir=Path(sys.argv[1]))))
thread.start(); thread.join()
# The thread that asked for it is gone, and it is alive.
started[0].call("address", {"host": "127.0.0.1"}, timeout_s=20)
print(started[0].pid, flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_parent_and_not_with_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(pid, 5)
