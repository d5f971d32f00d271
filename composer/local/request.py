"""What ``make run`` was asked for, checked before anything is started."""

from __future__ import annotations

import argparse
import re
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.local.places import REPOSITORY, python
from trainer.contract import ALL_MODELS, Device
from trainer.contract.catalogue import CatalogueError, check_workers, device_for, read_catalogue, with_engine
from trainer.contract.fields import ContractError, require
from trainer.contract.spec import MAX_WORKERS

RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]{1,200}")
#: The names people type, by the field that a contract error carries.
VARIABLES = {
    "num_workers": "WORKERS",
    "engine": "ENGINE",
    "device": "DEVICE",
    "rounds": "ROUNDS",
    "early_stopping_rounds": "EARLY_STOPPING",
    "run_id": "RUN_ID",
}


#: On one machine with two cores, unless the model can use fewer.
WORKERS = 2


class RequestError(Exception):
    """The command line asks for something that cannot be; the message names the variable and the fix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One run of ``f1_training``: Params as the trigger form has them, and where the laps come from."""

    model_type: str
    workers: int
    laps: Path | None = None
    engine: str | None = None
    device: str = "cpu"
    rounds: int | None = None
    early_stopping_rounds: int | None = None
    dry_run: bool = False
    run_id: str
    seed: int = 2024

    def conf(self) -> dict[str, Any]:
        """The Params of the DAG run."""
        return {
            "model_type": self.model_type,
            "num_workers": self.workers,
            "engine": self.engine,
            "device": self.device,
            "rounds": self.rounds,
            "early_stopping_rounds": self.early_stopping_rounds,
            "dry_run": self.dry_run,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``make run``; every value is text, so that a wrong one is answered in our words."""
    parser.add_argument("--laps", default="")
    parser.add_argument("--model", default="tire_degradation")
    parser.add_argument("--engine", default="")
    parser.add_argument("--workers", default="")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", default="")
    parser.add_argument("--early-stopping", default="")
    parser.add_argument("--run-id", default="")
    parser.add_argument("--seed", default="2024")
    parser.add_argument("--dry-run", default="")


def read_request(arguments: argparse.Namespace) -> RunRequest:
    """The request that the command line makes.

    Raises:
        RequestError: naming the variable and what it takes.
    """
    try:
        return _read_request(arguments)
    except ContractError as e:
        raise RequestError(f"{VARIABLES.get(e.field, e.field)} {e.problem}") from e
    except CatalogueError as e:
        raise RequestError(f"MODEL: {e}") from e


def _read_request(arguments: argparse.Namespace) -> RunRequest:
    catalogue = read_catalogue()
    one = arguments.model != ALL_MODELS
    asked = [catalogue.entry(arguments.model)] if one else catalogue.weekly()
    entries = [with_engine(entry, arguments.engine) for entry in asked]
    usual = min(WORKERS, entries[0].max_workers) if one else WORKERS
    workers = _whole("num_workers", arguments.workers) if arguments.workers else usual
    if one:
        check_workers(entries[0], workers)
    require(1 <= workers <= MAX_WORKERS, "num_workers", f"is {workers}; 1 to {MAX_WORKERS}")
    rounds = _rounds("rounds", arguments.rounds, least=1)
    patience = _rounds("early_stopping_rounds", arguments.early_stopping, least=0)
    devices = {entry.engine: device_for(entry.engine, arguments.device) for entry in entries}
    gpu = {engine: device for engine, device in devices.items() if device is not Device.CPU}
    for engine, device in gpu.items():
        _require_device(engine.value, device.value)
    run_id = arguments.run_id or _new_run_id()
    require(bool(RUN_ID.fullmatch(run_id)), "run_id", f"is {run_id!r}; letters, digits and _ . ~ : + -")
    return RunRequest(
        model_type=arguments.model,
        workers=workers,
        laps=Path(arguments.laps) if arguments.laps else None,
        engine=arguments.engine or None,
        device="gpu" if gpu else "cpu",
        rounds=rounds,
        early_stopping_rounds=patience,
        dry_run=_switch(arguments.dry_run),
        run_id=run_id,
        seed=_whole("SEED", arguments.seed),
    )


def _require_device(engine: str, device: str) -> None:
    # Asked in a process of its own: the library is heavy, and may take the GPU's memory when it looks.
    program = (
        "import sys; from trainer.boosters import engine_for\n"
        "from trainer.contract import Device, Engine, TrainingFailure\n"
        "try: engine_for(Engine(sys.argv[1])).check_device(Device(sys.argv[2]))\n"
        "except TrainingFailure as e: sys.exit(str(e))"
    )
    command = [python(), "-c", program, engine, device]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    lines = done.stderr.strip().splitlines() or ["it cannot be used"]
    require(done.returncode == 0, "device", f"is {device!r}: {lines[-1]}")


def _whole(field: str, text: str) -> int:
    require(bool(re.fullmatch(r"-?\d{1,9}", text)), field, f"is {text!r}; a whole number")
    return int(text)


def _rounds(field: str, text: str, *, least: int) -> int | None:
    if not text:
        return None
    rounds = _whole(field, text)
    require(least <= rounds <= 100_000, field, f"is {rounds}; {least} to 100000")
    return rounds


def _switch(text: str) -> bool:
    answer = text.lower()
    require(answer in ("", "0", "false", "no", "1", "true", "yes"), "DRY_RUN", f"is {text!r}; 1 or 0")
    return answer in ("1", "true", "yes")


def _new_run_id() -> str:
    return f"make-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:4]}"
