"""What a month is planned to cost, beside its budget: the plan alone may be more than the budget has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from f1_training.core.costs import Budget, CostSettings
from f1_training.costs.estimate import Estimate
from f1_training.costs.spending import RunCost

RUNS_A_MONTH = 52 / 12
#: As many of a model's newest weekly runs say what its next one costs.
RUNS_LOOKED_AT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedModel:
    """What one weekly run of a model is taken to cost (None: not known), and why."""

    model_type: str
    usd_per_run: float | None
    basis: str

    @property
    def usd_a_month(self) -> float:
        """Of 52 runs a year."""
        return (self.usd_per_run or 0.0) * RUNS_A_MONTH


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthPlan:
    """The plan of a month by its lines, and the models that make up the weekly one."""

    lines: Mapping[str, float]
    models: tuple[PlannedModel, ...]
    budget_usd: float

    @property
    def usd(self) -> float:
        """The plan in all."""
        return sum(self.lines.values())

    def warning(self) -> str:
        """What is wrong with the plan itself; "" when it fits."""
        unknown = [m.model_type for m in self.models if m.usd_per_run is None]
        told = f", without {', '.join(unknown)}, of which no cost is known" if unknown else ""
        if self.usd <= self.budget_usd:
            return f"the plan leaves out {', '.join(unknown)}: no cost of a run is known" if unknown else ""
        return (
            f"the plan itself, {self.usd:.0f} USD a month{told}, is more than the budget of {self.budget_usd:.0f} USD: "
            "train less often or on less, or raise costs.monthly_usd"
        )


def planned_model(model_type: str, runs: Iterable[RunCost], estimate: Estimate) -> PlannedModel:
    """What a weekly run is taken to cost: as the bill says of the newest, else as the estimate does."""
    billed = [r for r in runs if r.model_type == model_type and r.budget is Budget.WEEKLY][:RUNS_LOOKED_AT]
    if not billed:
        return PlannedModel(model_type=model_type, usd_per_run=estimate.usd, basis=estimate.basis)
    usd = sum(run.usd for run in billed) / len(billed)
    word = "run" if len(billed) == 1 else "runs"
    return PlannedModel(
        model_type=model_type, usd_per_run=usd, basis=f"the bill of the last {len(billed)} weekly {word}"
    )


def month_plan(models: Sequence[PlannedModel], settings: CostSettings) -> MonthPlan:
    """The plan: weekly retraining as its models cost, the other lines as they are budgeted."""
    lines = {line.value: settings.monthly_usd.get(line.value, 0.0) for line in Budget}
    lines[Budget.WEEKLY.value] = sum(m.usd_a_month for m in models)
    return MonthPlan(lines=lines, models=tuple(models), budget_usd=settings.budget_usd)
