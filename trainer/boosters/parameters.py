"""Parameters of the libraries: which a model may set, and which the system owns because its promises rest on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainer.contract import FailureReason, TrainingFailure


def refuse_owned(params: Mapping[str, object], owned: Mapping[str, Iterable[str]]) -> None:
    """Refuse parameters that the system sets itself.

    Args:
        params: the spec's parameters.
        owned: names (with all their aliases) by the fix that the message tells.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming ``params.X``.
    """
    fixes = {name: fix for fix, names in owned.items() for name in names}
    for name in params:
        if name in fixes:
            raise refused(name, f"is set by the system; {fixes[name]}")


def refuse_other_than(params: Mapping[str, object], allowed: Mapping[str, Iterable[str]], why: str) -> None:
    """Refuse values of ``params`` that ``allowed`` does not list for their name.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming ``params.X``.
    """
    for name, values in allowed.items():
        if name in params and str(params[name]).lower() not in values:
            raise refused(name, f"is {params[name]!r}; only {' or '.join(values)} can be used: {why}")


def refused(name: str, problem: str) -> TrainingFailure:
    """The refusal of parameter ``name``."""
    return TrainingFailure(FailureReason.CONFIG_INVALID, f"params.{name}: {problem}")
