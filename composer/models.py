"""``make models``: the versions of every model, which one serves, how good each is, and what it cost by list prices."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from composer.local.places import Places
from f1_training.registry.store import Registry
from trainer.contract import TrainingFailure, read_catalogue

COLUMNS = ("model", "version", "", "engine", "rounds", "test", "95 %", "baseline", "about USD", "why")
#: What a model is judged by, and what a naive one reaches.
METRICS = (("test_mae", "baseline_mae"), ("accuracy", "baseline_accuracy"))


def rows(registry: Registry, model_type: str, last: int) -> Iterator[tuple[str, ...]]:
    """The newest ``last`` versions of a model, the newest first."""
    events = registry.history(model_type)
    champion = events[-1].model_version if events else ""
    why = {event.model_version: event.reason for event in events}
    for version in reversed(registry.versions(model_type)[-last:]):
        card = registry.model(model_type, version).card
        metrics = card.evaluation.metrics
        metric, baseline = next(((m, b) for m, b in METRICS if m in metrics), ("", ""))
        between = card.evaluation.intervals.get(metric)
        unit = f" {card.unit}" if card.unit and metric == "test_mae" else ""
        yield (
            model_type,
            version,
            "champion" if version == champion else "",
            card.engine,
            str(card.rounds),
            f"{metrics[metric]:.5g}{unit}" if metric else "",
            f"{between.low:.5g} to {between.high:.5g}" if between else "",
            f"{metrics[baseline]:.5g}{unit}" if baseline in metrics else "",
            f"{card.cost.estimated_usd:.2f}" if card.cost is not None else "",
            why.get(version, "not promoted"),
        )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--last", type=int, default=10)
    arguments = parser.parse_args()
    uri = arguments.uri or f"{Places.default().storage_uri}/models"
    known = sorted(read_catalogue().entries)
    if arguments.model and arguments.model not in known:
        print(f"error: MODEL is {arguments.model!r}; one of {', '.join(known)}", file=sys.stderr)
        return os.EX_USAGE
    table = Table(*COLUMNS, box=None, header_style="bold")
    try:
        registry = Registry(uri)
        for model_type in [arguments.model] if arguments.model else known:
            for row in rows(registry, model_type, arguments.last):
                table.add_row(*row)
    except TrainingFailure as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    if not table.row_count:
        print(f"no model is registered below {uri}; make run trains one")
        return os.EX_OK
    Console(width=None if sys.stdout.isatty() else 220).print(table)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
