"""Chief, workers and evaluations as real processes, followed by the events that they log."""

import contextlib
import ctypes
import dataclasses
import datetime as dt
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trainer.contract import Outcome, TrainingSpec

REPOSITORY = Path(__file__).parents[3]
DEADLINE_S = 150.0  # only what hangs is ended by it: these machines are shared
#: Without compiled bytecode a program that imports a boosting library starts three seconds later.
COMPILED = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(REPOSITORY / "var" / "cache" / "bytecode")}
#: For programs that run what other tests measure the coverage of: measuring makes them half as slow again.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(1, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def make_certificates(folder: Path) -> Path:
    """A CA and one certificate for both sides, as a job's Secret holds them."""
    folder.mkdir(parents=True, exist_ok=True)
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)

    def certificate(name: str, key: Any, issuer: str, issuer_key: Any, *, ca: bool) -> x509.Certificate:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
        builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        return builder.add_extension(x509.BasicConstraints(ca, None), True).sign(issuer_key, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(certificate("ca", ca_key, "ca", ca_key, ca=True).public_bytes(pem))
    (folder / "tls.crt").write_bytes(certificate("job", key, "ca", ca_key, ca=False).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(private)
    return folder


class Pod:
    """One running program in a process group of its own. ``wait_for`` follows its log; whatever it has started is known
    by ``family``. ``prefix`` is a command that runs it, such as in another network namespace.
    """

    def __init__(self, module: str, environment: dict[str, str], log: Path, prefix: Sequence[str] = ()) -> None:
        self.log = log
        self.termination_log = log.with_suffix(".outcome")
        self.environment = environment
        env = {**environment, **COMPILED, "TRAINING_TERMINATION_LOG": str(self.termination_log)}
        with log.with_suffix(".stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module],
                env={**os.environ, **env},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def wait_for(self, event: str, within_s: float = DEADLINE_S, **fields: Any) -> dict[str, Any]:
        """The next event named ``event`` whose fields are ``fields``."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                line = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty as e:
                raise AssertionError(f"no {event} within {within_s} s; {self.tail()}") from e
            if line is None:
                raise AssertionError(f"the program ended before {event}; {self.tail()}")
            if line["event"] == event and all(line.get(name) == value for name, value in fields.items()):
                return line

    def named(self, event: str) -> dict[str, Any]:
        """The newest event named ``event`` so far."""
        return [line for line in self.seen if line["event"] == event][-1]

    def wait(self, within_s: float = DEADLINE_S) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired as e:
            raise AssertionError(f"still running after {within_s} s; {self.tail()}") from e

    def outcome(self) -> Outcome:
        return Outcome.from_json(self.termination_log.read_text())

    def family(self) -> list[psutil.Process]:
        """The program and all processes below it."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group, as a container's end does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()
        self._follower.join(10)

    def tail(self) -> str:
        errors = self.log.with_suffix(".stderr").read_text(errors="replace")[-3000:]
        return "\n".join([*(str(line) for line in self.seen[-15:]), errors])

    def _follow(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout, self.log.open("w") as copy:
            for line in self.process.stdout:
                copy.write(line.decode(errors="replace"))
                copy.flush()
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    self.seen.append(record)
                    self._events.put(record)
        self._events.put(None)


@dataclasses.dataclass
class Job:
    """One launch of a chief and its workers."""

    chief: Pod
    workers: list[Pod]

    @property
    def pods(self) -> list[Pod]:
        return [self.chief, *self.workers]


class Launcher:
    """Starts jobs, and ends whatever is left of them."""

    def __init__(self, folder: Path, environment: dict[str, str], certificates: Path) -> None:
        self.folder = folder
        self.environment = {**environment, "TRAINING_TLS_DIR": str(certificates), "TRAINING_HEALTH_PORT": "0"}
        self.started: list[Pod] = []

    def pod(self, name: str, module: str, environment: dict[str, str], prefix: Sequence[str] = ()) -> Pod:
        cache = {"TRAINING_CACHE_DIR": str(self.folder / "cache" / name)}
        log = self.folder / f"{len(self.started):02d}-{name}.log"
        pod = Pod(module, {**self.environment, **cache, **environment}, log, prefix)
        self.started.append(pod)
        return pod

    def chief(self, spec: TrainingSpec, port: int = 0, **environment: str) -> Pod:
        own = {"TRAINING_SPEC": spec.to_json(), "TRAINING_JOB_ID": spec.job_id, "TRAINING_CHIEF_PORT": str(port)}
        return self.pod("chief", "trainer.chief", {**own, **environment})

    def worker(self, spec: TrainingSpec, index: int, port: int, **environment: str) -> Pod:
        own = {
            "TRAINING_JOB_ID": spec.job_id,
            "WORKER_INDEX": str(index),
            "TOTAL_WORKERS": str(spec.num_workers),
            "TRAINING_CHIEF_ADDRESS": f"127.0.0.1:{port}",
        }
        return self.pod(f"worker{index}", "trainer.worker", {**own, **environment})

    def job(self, spec: TrainingSpec) -> Job:
        port = free_port()
        workers = range(spec.num_workers) if spec.num_workers > 1 else ()
        return Job(self.chief(spec, port), [self.worker(spec, index, port) for index in workers])

    def close(self) -> None:
        for pod in self.started:
            pod.kill()


def gone(processes: list[psutil.Process], within_s: float = 10.0) -> list[psutil.Process]:
    """Those of ``processes`` that are still alive after ``within_s`` seconds; zombies count as gone."""
    deadline = time.monotonic() + within_s
    alive = processes
    while alive and time.monotonic() < deadline:
        alive = [p for p in alive if _is_alive(p)]
        if alive:
            time.sleep(0.05)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def storage_read(tables: dict[str, Path], host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a Storage Read API that serves ``tables`` on ``host``."""
    arguments = [f"{name}={path}" for name, path in tables.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.storage_read", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "STORAGE_READ_HOST": host},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=_die_with_parent,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()
