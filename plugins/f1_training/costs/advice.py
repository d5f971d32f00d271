"""Whether a model's workers have the size that they need, from what their training processes used at most. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from f1_training.costs.prices import Prices
from trainer.contract import TrainingResult
from trainer.contract.resources import LADDER, Resources, cpus, memory_bytes

#: Names in ``TrainingResult.usage``.
PEAK_MEMORY, CPUS = "peak_memory_bytes", "cpus"
#: Above this share of its memory a worker is close to being killed; below this share of its CPUs they are idle.
TIGHT, IDLE = 0.85, 0.5
#: What a worker should have: its peak and a quarter, and room for the Dask worker beside the training process.
ROOM, BESIDE_BYTES = 1.25, 512 * 2**20
GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What to change about a model's workers, and why; ``change`` is False when they are as they should be."""

    model_type: str
    change: bool
    text: str


def advise(model_type: str, resources: Resources, result: TrainingResult | None, prices: Prices) -> Advice:
    """Advice for the workers of ``model_type``, from its newest version's result (None: there is none)."""
    if result is None:
        return Advice(model_type=model_type, change=False, text="no version yet: nothing was measured")
    peak, used = result.usage.get(PEAK_MEMORY), result.usage.get(CPUS)
    if peak is None or used is None:
        missing = " and ".join(name for name, value in (("peak memory", peak), ("CPU time", used)) if value is None)
        return Advice(model_type=model_type, change=False, text=f"the newest version does not say its {missing}")
    memory, cpu = memory_bytes(resources.memory), cpus(resources.cpu)
    share, busy = peak / memory, used / cpu
    measured = f"{peak / GIB:.2f} of {memory / GIB:.0f} GiB and {used:.1f} of {cpu:g} CPUs used at most"
    if share > TIGHT:
        return Advice(model_type=model_type, change=True, text=f"{measured}: {_larger(peak, resources)}")
    rung = smallest(peak, used)
    if rung is not None and _is_smaller(rung, resources):
        text = f"{measured}: {rung.machine_type} has room{_saving(rung, resources, prices)}"
        return Advice(model_type=model_type, change=True, text=text)
    if busy < IDLE:
        text = f"{measured}: CPUs are idle; take fewer workers, so that each has more rows"
        return Advice(model_type=model_type, change=result.workers > 1, text=text if result.workers > 1 else measured)
    return Advice(model_type=model_type, change=False, text=f"{measured}: as it should be")


def smallest(peak_bytes: float, used_cpus: float) -> Resources | None:
    """The smallest machine with room for such a worker."""
    wanted = peak_bytes * ROOM + BESIDE_BYTES
    return next((r for r in LADDER if memory_bytes(r.memory) >= wanted and cpus(r.cpu) >= used_cpus), None)


def _is_smaller(rung: Resources, resources: Resources) -> bool:
    now = next((r for r in LADDER if r.machine_type == resources.machine_type), None)
    return now is not None and list(LADDER).index(rung) < list(LADDER).index(now)


def _larger(peak: float, resources: Resources) -> str:
    wanted = peak * ROOM + BESIDE_BYTES
    rung = next((r for r in LADDER if memory_bytes(r.memory) >= wanted), None)
    if rung is None:
        return "no machine of the ladder has more room; take more workers, so that each has fewer rows"
    if rung.machine_type == resources.machine_type:
        return f"raise memory to {math.ceil(wanted / GIB)}Gi, for which its {rung.machine_type} has room"
    return f"close to being killed; take {rung.machine_type}"


def _saving(rung: Resources, resources: Resources, prices: Prices) -> str:
    now, then = prices.of(resources.machine_type), prices.of(rung.machine_type)
    if now is None or then is None:
        return ""
    return f", and costs {now.on_demand - then.on_demand:.2f} USD less an hour and worker"
