"""What training may cost: :class:`CostSettings`, and the :class:`Budget` line that a run is counted under."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.contract.fields import require

TABLE = re.compile(r"[a-z][a-z0-9.:-]{1,61}[a-z0-9]\.\w{1,1024}\.[\w-]{1,1024}", re.ASCII)


class Budget(enum.StrEnum):
    """A line of the monthly budget; the label of pods and of BigQuery's jobs that says so has the same values."""

    WEEKLY = "weekly-retraining"
    AD_HOC = "ad-hoc"
    #: Whatever no run was started for: storage, networks, what nodes had left over.
    INFRASTRUCTURE = "infrastructure"

    @classmethod
    def of_run(cls, run_type: str) -> Budget:
        """The line of a DAG run: one that started by itself retrains, whatever a person started is ad hoc."""
        return cls.WEEKLY if run_type in ("scheduled", "asset_triggered") else cls.AD_HOC


@dataclass(frozen=True, kw_only=True, slots=True)
class HourlyPrice:
    """US dollars an hour of one machine or accelerator."""

    on_demand: float
    spot: float

    def __post_init__(self) -> None:
        for name in ("on_demand", "spot"):
            require(getattr(self, name) >= 0, name, f"is {getattr(self, name)}; US dollars an hour, 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimatedCost:
    """What a run that is over has cost by prices. The bill is exact, and comes a day later.

    ``hours`` is for how long its nodes, ``machines``, were paid for; ``basis`` what the estimate rests on.
    """

    estimated_usd: float
    hours: float
    machines: str
    basis: str

    def told(self) -> str:
        """In words, for a page or a table's foot."""
        return f"about {self.estimated_usd:.2f} USD: {self.machines} for {self.hours:.2f} h, {self.basis}"


def _monthly() -> dict[str, float]:
    return {Budget.WEEKLY.value: 120.0, Budget.AD_HOC.value: 50.0, Budget.INFRASTRUCTURE.value: 30.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class CostSettings:
    """What is paid, and what may be.

    ``billing_table`` is Cloud Billing's detailed usage export (``project.dataset.gcp_billing_export_resource_v1_...``);
    without it nothing is reported. ``location`` is where its dataset lies, by default the deployment's.
    ``monthly_usd`` is the budget by its lines, of which the owners are told once the month has used up the share
    ``warn_share``. Above ``hard_limit_usd`` a month no run is started that is not forced; without one none is refused.
    ``uncounted_services`` are shown and count for nothing. ``prices`` replace those of ``costs/prices.toml``, by
    machine type or accelerator. A node is paid for ``node_overhead_s`` more than its pods run: until it is up, and
    until the autoscaler takes it away.
    """

    billing_table: str = ""
    location: str = ""
    monthly_usd: Mapping[str, float] = field(default_factory=_monthly)
    warn_share: float = 0.8
    hard_limit_usd: float | None = None
    uncounted_services: tuple[str, ...] = ("Cloud Composer",)
    prices: Mapping[str, HourlyPrice] = field(default_factory=dict)
    node_overhead_s: float = 780.0
    months_shown: int = 6

    def __post_init__(self) -> None:
        fits = not self.billing_table or bool(TABLE.fullmatch(self.billing_table))
        example = "project.dataset.gcp_billing_export_resource_v1_01A2B3_C4D5E6_F7A8B9"
        require(fits, "billing_table", f"is {self.billing_table!r}; the export in full, such as {example}")
        lines = [line.value for line in Budget]
        unknown = sorted(set(self.monthly_usd) - set(lines))
        require(not unknown, "monthly_usd", f"names {', '.join(unknown)}; the lines are {', '.join(lines)}")
        for name, usd in self.monthly_usd.items():
            require(usd >= 0, f"monthly_usd.{name}", f"is {usd}; US dollars, 0 or more")
        require(0 < self.warn_share <= 1, "warn_share", f"is {self.warn_share}; above 0, at most 1")
        limit = self.hard_limit_usd
        require(limit is None or limit > 0, "hard_limit_usd", f"is {limit}; US dollars a month, more than 0")
        require(self.node_overhead_s >= 0, "node_overhead_s", f"is {self.node_overhead_s}; 0 or more")
        require(1 <= self.months_shown <= 36, "months_shown", f"is {self.months_shown}; 1 to 36")

    @property
    def budget_usd(self) -> float:
        """The budget of a month in all."""
        return sum(self.monthly_usd.values())
