"""What a run will cost at most, and what one that is over has cost: seconds, times machines, times prices. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from f1_training.core.costs import EstimatedCost, HourlyPrice
from f1_training.core.plan import RunPlan
from f1_training.core.settings import Spot
from f1_training.costs.prices import Prices
from f1_training.registry.card import ModelCard
from trainer.contract import Device, GroupChange, TrainingResult
from trainer.contract.resources import LADDER, Resources, cpus, memory_bytes

HOUR_S, TIB = 3600.0, 2**40
#: What the chief calls its times (``trainer.chief.driver``): boosting, and from its start to its end.
TRAINING, TOTAL = "training", "total"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a version of the model took: seconds a boosting round, seconds around training, bytes of its snapshots."""

    version: str
    workers: int
    round_s: float
    other_s: float
    bytes_scanned: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """US dollars of one run, and what they rest on; ``usd`` is None when nothing is known."""

    usd: float | None
    basis: str

    def told(self) -> str:
        """In words, for the log."""
        return f"about {self.usd:.2f} USD ({self.basis})" if self.usd is not None else f"cost unknown: {self.basis}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """``count`` nodes of one kind, an hour of which costs ``usd_per_hour`` each."""

    count: float
    kind: str
    usd_per_hour: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    """US dollars of ``machines`` for ``hours``, with the evaluator's node and the queries."""

    usd: float
    hours: float
    machines: str


def measured(card: ModelCard) -> Measured | None:
    """What the card's run took; None where it does not say."""
    seconds = card.result.seconds
    # A chief that went on where another had stopped knows only its own time.
    resumed = [event.round for event in card.result.lineage if event.change is GroupChange.RESUMED]
    rounds = card.result.trained_rounds - max(resumed, default=0)
    if rounds < 1 or TRAINING not in seconds or TOTAL not in seconds:
        return None
    return Measured(
        version=card.model_version,
        workers=card.result.workers,
        round_s=seconds[TRAINING] / rounds,
        other_s=max(0.0, seconds[TOTAL] - seconds[TRAINING]),
        bytes_scanned=card.spec.snapshot.bytes_scanned + card.test_snapshot.bytes_scanned,
    )


def comparable(cards: Sequence[ModelCard], plan: RunPlan) -> Measured | None:
    """The newest of ``cards`` that tells what ``plan`` takes: the same engine and device, and workers where it can."""
    alike = [c for c in cards if c.engine == plan.entry.engine.value and c.spec.device is plan.device]
    found = [m for m in map(measured, sorted(alike, key=lambda c: c.model_version)) if m is not None]
    same = [m for m in found if m.workers == plan.num_workers]
    return next(iter(reversed(same or found)), None)


def estimate(plan: RunPlan, prices: Prices, known: Measured | None) -> Estimate:
    """What ``plan`` costs if it trains all its rounds.

    More workers than were measured are taken to save no time, fewer to take longer in proportion; workers that only
    prefer Spot are priced on demand. So the estimate is an upper one.
    """
    if known is None:
        declared = plan.entry.cost
        if declared is not None:
            return Estimate(usd=declared.usd_per_run, basis=declared.basis)
        return Estimate(usd=None, basis="no version of it was measured, and its catalogue file has no [cost]")
    slower = max(1.0, known.workers / plan.num_workers)
    seconds = known.other_s + known.round_s * plan.entry.rounds * slower
    found = _priced(plan, prices, seconds, known.bytes_scanned)
    if isinstance(found, list):
        return Estimate(usd=None, basis=f"no price of {', '.join(found)}; give it in the setting costs.prices")
    basis = (
        f"{found.machines} for {found.hours:.2f} h, {plan.entry.rounds} rounds at {known.round_s * slower:.3g} s as "
        f"version {known.version} took with {known.workers} workers, {prices.told()}"
    )
    return Estimate(usd=found.usd, basis=basis)


def cost_of_run(plan: RunPlan, prices: Prices, result: TrainingResult, bytes_scanned: int) -> EstimatedCost | None:
    """What a run that trained ``result`` has cost; None where its time or a machine's price is not known.

    Workers that only prefer Spot are priced on demand, so this is an upper estimate there, too. A chief that went on
    where another had stopped knows only its own time; the basis says so.
    """
    seconds = result.seconds.get(TOTAL)
    found = _priced(plan, prices, seconds, bytes_scanned) if seconds is not None else []
    if isinstance(found, list):
        return None
    resumed = any(event.change is GroupChange.RESUMED for event in result.lineage)
    before = ", without what chiefs before the last one took" if resumed else ""
    return EstimatedCost(
        estimated_usd=round(found.usd, 4),
        hours=round(found.hours, 4),
        machines=found.machines,
        basis=f"estimated with {prices.told()}{before}",
    )


def _priced(plan: RunPlan, prices: Prices, seconds: float, bytes_scanned: int) -> Priced | list[str]:
    """A run whose training takes ``seconds``; the names of what has no price."""
    nodes, unknown = _nodes(plan, prices)
    if unknown:
        return unknown
    overhead_s = plan.settings.costs.node_overhead_s
    hours = (seconds + overhead_s) / HOUR_S
    training = sum(n.count * n.usd_per_hour for n in nodes) * hours
    evaluator = _pool(plan.entry.resources, 1, prices, spot=False)
    # The evaluation's own seconds are few and not measured; its node is paid for until it is taken away.
    evaluation = evaluator.usd_per_hour * overhead_s / HOUR_S if isinstance(evaluator, Nodes) else 0.0
    queries = bytes_scanned / TIB * prices.bigquery_usd_per_tib
    machines = " and ".join(f"{n.count:.3g} {n.kind}" for n in nodes)
    return Priced(usd=training + evaluation + queries, hours=hours, machines=machines)


def _nodes(plan: RunPlan, prices: Prices) -> tuple[list[Nodes], list[str]]:
    """The nodes of a run, and what of them has no price."""
    entry, spot = plan.entry, plan.settings.worker_spot is Spot.REQUIRED
    accelerator = plan.settings.gpu_accelerator if plan.device is not Device.CPU else ""
    if plan.num_workers == 1:
        found = [_pool(entry.resources, 1, prices, spot=False, accelerator=accelerator)]
    else:
        found = [
            _pool(entry.resources, plan.num_workers, prices, spot=spot, accelerator=accelerator),
            _chief(entry.chief_resources, prices),
        ]
    return [n for n in found if isinstance(n, Nodes)], [n for n in found if isinstance(n, str)]


def _pool(resources: Resources, pods: int, prices: Prices, *, spot: bool, accelerator: str = "") -> Nodes | str:
    """The nodes that ``pods`` take, as many on each as have room; the name of what has no price."""
    rung = _rung(resources)
    name = rung.machine_type if rung is not None else f"a machine with {resources.cpu} CPUs and {resources.memory}"
    price = prices.of(name)
    if rung is None or price is None:
        return name
    per_node = 1 if accelerator else max(1, math.floor(1 / _share(resources, rung)))
    usd, kind = _usd(price, spot=spot), f"{name} {'on Spot' if spot else 'on demand'}"
    if accelerator:
        beside = prices.of(accelerator)
        if beside is None:
            return accelerator
        usd, kind = usd + _usd(beside, spot=spot), f"{kind} with {accelerator}"
    return Nodes(count=math.ceil(pods / per_node), kind=kind, usd_per_hour=usd)


def _chief(resources: Resources, prices: Prices) -> Nodes | str:
    """The chief's part of its node, which it shares with other chiefs; always on demand."""
    rung = _rung(resources)
    if rung is None:
        return f"a machine with {resources.cpu} CPUs and {resources.memory}"
    price = prices.of(rung.machine_type)
    if price is None:
        return rung.machine_type
    return Nodes(count=_share(resources, rung), kind=f"{rung.machine_type} of the chief", usd_per_hour=price.on_demand)


def _usd(price: HourlyPrice, *, spot: bool) -> float:
    return price.spot if spot else price.on_demand


def _rung(resources: Resources) -> Resources | None:
    """The machine of a pod: its own type, else the smallest that has room."""
    if resources.machine_type:
        return next((r for r in LADDER if r.machine_type == resources.machine_type), None)
    return next((r for r in LADDER if _share(resources, r) <= 1), None)


def _share(resources: Resources, rung: Resources) -> float:
    """How much of the node's room a pod takes."""
    by_cpu = cpus(resources.cpu) / cpus(rung.cpu)
    return max(by_cpu, memory_bytes(resources.memory) / memory_bytes(rung.memory))
