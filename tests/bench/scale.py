"""``python -m tests.bench.scale``: what a job of a billion rows takes, worked out from the unit costs of ``make bench``.

It reads ``var/bench/results.jsonl``, or the files that are its arguments. The arithmetic is explained in docs/scale.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
MIB = 1 << 20
#: Of the unit costs: all of them must be there.
NEEDED = ("round_ns", "build_ns", "restore_ns", "load_mib_s", "memory_over_arrow", "chief_ms_per_boundary")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The job that is worked out."""

    rows: float = 1e9
    features: int = 24
    workers: int = 10
    cores: int = 16
    rounds: int = 1000
    segment_rounds: int = 100
    depth: int = 8
    bins: int = 256
    #: Between two machines of a zone.
    network_gbit_s: float = 10.0
    round_trip_s: float = 0.0005
    base_gib: float = 0.35

    @property
    def shard_rows(self) -> float:
        """Rows of one worker."""
        return self.rows / self.workers

    @property
    def arrow_gib(self) -> float:
        """Arrow bytes of one worker: float32 features and a float64 target."""
        return self.shard_rows * (4 * self.features + 8) / GIB

    @property
    def exchanged_bytes(self) -> float:
        """Histograms of one tree. Of two siblings one is summed up, the other is the parent less that."""
        nodes = 1 + sum(2 ** (level - 1) for level in range(1, self.depth))
        return float(nodes * self.features * self.bins * 16)


def worked_out(job: Job, unit: Mapping[str, float]) -> list[tuple[str, str]]:
    """Names and values of the lines of the table, in their order."""
    share = job.shard_rows * job.features / job.cores / 1e9
    loading_s = job.shard_rows * 4 * job.features / MIB / unit["load_mib_s"]
    build_s = unit["build_ns"] * share
    compute_s = unit["round_ns"] * share
    # A ring: each rank sends and receives the sum nearly twice, in 2 (workers - 1) steps a level.
    steps = 2 * (job.workers - 1)
    wire_s = steps / job.workers * job.exchanged_bytes * 8 / (job.network_gbit_s * 1e9)
    network_s = wire_s + steps * job.depth * job.round_trip_s
    boundaries = job.rounds / job.segment_rounds
    boundary_s = boundaries * unit["chief_ms_per_boundary"] / 1000
    training_s = job.rounds * (compute_s + network_s) + boundary_s
    restore_s = unit["restore_ns"] * job.shard_rows * job.rounds / job.cores / 1e9
    lost_s = job.segment_rounds * (compute_s + network_s)
    return [
        ("rows a worker", f"{job.shard_rows / 1e6:.0f} M"),
        ("Arrow, and shard cache on disk, a worker", f"{job.arrow_gib:.1f} GiB"),
        ("memory a worker, at most", f"{job.arrow_gib * unit['memory_over_arrow'] + job.base_gib:.1f} GiB"),
        ("loading", _time(loading_s)),
        ("building the matrix", _time(build_s)),
        ("histograms exchanged a tree", f"{job.exchanged_bytes / MIB:.1f} MiB"),
        ("a round: computing", f"{compute_s:.2f} s"),
        ("a round: exchanging", f"{network_s:.2f} s"),
        (f"{job.rounds} rounds", _time(training_s)),
        ("of that, the chief's work at boundaries", _time(boundary_s)),
        ("all", _time(loading_s + build_s + training_s)),
        ("after a lost worker: rounds trained again, at most", _time(lost_s)),
        ("after a lost worker: its replacement loads and all build", _time(loading_s + build_s)),
        ("after a lost worker: earlier trees predicted again, at most", _time(restore_s)),
    ]


def main(files: Sequence[str]) -> int:
    """Print the table."""
    unit: dict[str, float] = {}
    for file in files or [str(Path(__file__).parents[2] / "var" / "bench" / "results.jsonl")]:
        for line in Path(file).read_text().splitlines():
            if line.startswith("{"):
                one = json.loads(line)
                unit[one["figure"]] = one["value"]
    absent = [name for name in NEEDED if unit.get(name) is None]
    if absent:
        print(f"error: not measured: {', '.join(absent)}; make bench FIGURES={','.join(absent)}", file=sys.stderr)  # noqa: T201
        return 64
    job = Job()
    for name in NEEDED:
        print(f"{name:60} {unit[name]:.2f}")  # noqa: T201
    for name, value in worked_out(job, unit):
        print(f"{name:60} {value}")  # noqa: T201
    return 0


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
