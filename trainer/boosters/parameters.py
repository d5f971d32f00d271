"""Parameters of the libraries: which a model may set, and which the system owns because its promises rest on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import Scalar


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a library's parameters may be.

    ``first_names`` maps aliases to the library's first name for a parameter. ``owned`` has the first names of those
    that the system sets, by the fix that the message tells; ``allowed`` the only values that some others may have, and
    ``why``.
    """

    first_names: Mapping[str, str]
    owned: Mapping[str, Collection[str]]
    allowed: Mapping[str, Collection[str]]
    why: str

    def canonical(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """``params`` by their first names.

        Raises:
            TrainingFailure: ``ConfigInvalid`` naming ``params.X``, as it is written there.
        """
        fixes = {name: fix for fix, names in self.owned.items() for name in names}
        written: dict[str, str] = {}
        for name, value in params.items():
            first = self.first_names.get(name, name)
            if first in fixes:
                raise refused(name, f"is set by the system; {fixes[first]}")
            if first in written:
                raise refused(name, f"is the same as params.{written[first]}; keep one of them")
            values = self.allowed.get(first)
            if values is not None and str(value).lower() not in values:
                raise refused(name, f"is {value!r}; only {' or '.join(values)} can be used: {self.why}")
            written[first] = name
        return {first: params[name] for first, name in written.items()}


def refused(name: str, problem: str) -> TrainingFailure:
    """The refusal of parameter ``name``."""
    return TrainingFailure(FailureReason.CONFIG_INVALID, f"params.{name}: {problem}")
