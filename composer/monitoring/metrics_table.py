"""``python -m composer.monitoring.metrics_table``: the contract's metrics as the table in ``docs/monitoring.md``."""

from __future__ import annotations

from trainer.contract.metrics import METRICS

HEAD = ("Metric", "Kind, unit", "Labels", "Recorded by", "")


def metrics_table() -> str:
    """Markdown, a row a metric, in the order of the contract."""
    rows = [HEAD, ("---",) * len(HEAD)]
    for metric in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append((f"`{metric.name}`", f"{metric.kind}, {metric.unit}", labels, metric.source, metric.help))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(metrics_table())
