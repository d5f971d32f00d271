"""``python -m tests.bench``: measure, print one JSON line a figure, then a table. Exit code 1 when a bar is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from tests.bench.stand import FOLDER, prepare_process, standing

OUT = prepare_process()  # before anything imports Airflow

from tests.bench import boundaries, memory, metrics_cost, predictions, recovery, scans, tables, units, wall  # noqa: E402
from tests.bench.bench import SCALES, Bench, results_file, say  # noqa: E402
from tests.bench.figures import BARS, Figure, missing, table  # noqa: E402

Measure = Callable[[Bench, Sequence[str]], Iterator[Figure]]
#: Figures that come from the same jobs, and who measures them.
GROUPS: Sequence[tuple[Sequence[str], Measure]] = (
    (wall.XGBOOST_FIGURES, wall.xgboost),
    (wall.DENSE_FIGURES, wall.dense),
    (wall.LIGHTGBM_FIGURES, wall.lightgbm),
    (wall.REAL_FIGURES, wall.real),
    (("checkpoint_cost",), boundaries.checkpoint_cost),
    (("metrics_cost",), metrics_cost.measure),
    (("boundary_growth",), boundaries.boundary_growth),
    (("chief_ms_per_boundary",), boundaries.chief_work),
    (("source_scans",), scans.measure),
    (tables.FIGURES, tables.measure),
    (predictions.FIGURES, predictions.measure),
    (("recovery_kill9_s", "recovery_vs_ray_train"), recovery.measure),
    (("memory_over_arrow",), memory.measure),
    (("round_ns", "build_ns", "restore_ns", "load_mib_s"), units.measure),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the wanted figures."""
    options = _parser().parse_args(arguments)
    wanted = [name for name in options.figures.split(",") if name] or list(BARS)
    unknown = sorted(set(wanted) - set(BARS))
    if unknown:
        print(f"error: no figure {', '.join(unknown)}; there are {', '.join(BARS)}", file=sys.stderr)  # noqa: T201
        return 64
    results = results_file()
    results.parent.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    with ExitStack() as stack:
        kept = stack.enter_context(results.open("w"))
        stand = stack.enter_context(standing(FOLDER / "stand"))
        bench = Bench(stand=stand, scale=SCALES[options.scale], samples=options.samples)
        for names, measure in GROUPS:
            for figure in _measured(bench, [n for n in names if n in wanted], measure):
                figures.append(figure)
                for stream in (kept, OUT):
                    print(figure.line(), file=stream, flush=True)
    print(table(figures), file=OUT)
    return 1 if any(figure.holds is False for figure in figures) else 0


def _measured(bench: Bench, wanted: Sequence[str], measure: Measure) -> Iterator[Figure]:
    """The figures of one group; what goes wrong in it costs only its own."""
    done: set[str] = set()
    if not wanted:
        return
    try:
        for figure in measure(bench, wanted):
            done.add(figure.figure)
            yield figure
    except Exception as e:
        say(f"{', '.join(wanted)}: {type(e).__name__}: {e}")
        yield from (missing(name, e) for name in wanted if name not in done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--figures", default="", help="names, with commas; empty for all")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    return parser


if __name__ == "__main__":
    sys.exit(main())
