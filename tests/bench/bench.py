"""What a benchmark has at hand: the stand-ins, the scale, and the rows, which are made when they are first needed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from composer.local.places import REPOSITORY
from tests.bench.rows import Sample, existing, simulated
from tests.bench.stand import FOLDER, Stand

LAPS = REPOSITORY.parent / "shared" / "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How large the measured jobs are."""

    rows: int
    rounds: int
    checkpoint_rows: int
    checkpoint_rounds: int
    memory_rows: int
    recovery_rows: int


SCALES = {
    "full": Scale(
        rows=2_000_000,
        rounds=100,
        checkpoint_rows=2_000_000,
        checkpoint_rounds=1000,
        memory_rows=20_800_000,
        recovery_rows=400_000,
    ),
    "small": Scale(
        rows=100_000,
        rounds=20,
        checkpoint_rows=10_000,
        checkpoint_rounds=1000,
        memory_rows=1_000_000,
        recovery_rows=60_000,
    ),
}


@dataclass(kw_only=True)
class Bench:
    """One run of the benchmark."""

    stand: Stand
    scale: Scale
    samples: int
    _made: dict[str, Sample] = field(default_factory=dict)

    def simulated(self, rows: int, *, for_peers: bool = True, dense: bool = False) -> Sample:
        """The simulated rows, loaded once; see :func:`tests.bench.rows.simulated`."""
        name = f"{'dense' if dense else 'sim'}_{rows}"
        if name not in self._made:
            say(f"{rows} simulated rows")
            self._made[name] = simulated(
                self.stand.bigquery, FOLDER / "rows", name, rows, for_peers=for_peers, dense=dense
            )
        return self._made[name]

    def real_laps(self) -> Sample | None:
        """The real laps' training rows, through the process SQL and a snapshot; None where there are none."""
        if not (LAPS / "laps.parquet").exists():
            return None
        if "real" not in self._made:
            say("real laps")
            self._made["real"] = self._real()
        return self._made["real"]

    def _real(self) -> Sample:
        from composer.local.laps import load_laps, validate_laps
        from f1_training.operators import SnapshotOperator
        from tests.bench.job import deployment, quiet
        from tests.fakes.run_plan import StateStore
        from trainer.contract import SnapshotRef
        from trainer.contract.fields import decode

        load_laps(self.stand.bigquery, validate_laps(LAPS))
        plan = deployment(self.stand, "real-laps", workers=2, threads=1, rounds=1, deadline_s=600.0)
        with quiet(self.stand.folder / "operator.log"):
            taken = SnapshotOperator(task_id="snapshot", plan=plan.to_xcom()).execute(
                {"task_state_store": StateStore()}
            )
        snapshot = decode(SnapshotRef, taken["training"], "")
        return existing(FOLDER / "rows", "real", snapshot, plan.entry.features)


def say(text: str) -> None:
    """Progress, for people: standard output is for figures."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)  # noqa: T201


def results_file() -> Path:
    """Where the figures of the last run lie."""
    return FOLDER / "results.jsonl"
