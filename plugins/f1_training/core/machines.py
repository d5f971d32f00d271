"""The next machine type of a model that ran out of memory."""

from __future__ import annotations

from trainer.contract.resources import LADDER, Resources, memory_bytes


def next_machine(resources: Resources) -> Resources | None:
    """The next rung above ``resources``, None above the last.

    A machine type that is not on the ladder, or none at all, continues at the first rung with more memory.
    """
    types = [rung.machine_type for rung in LADDER]
    if resources.machine_type in types:
        above = LADDER[types.index(resources.machine_type) + 1 :]
    else:
        above = LADDER
    has = memory_bytes(resources.memory)
    return next((rung for rung in above if memory_bytes(rung.memory) > has), None)
