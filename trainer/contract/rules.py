"""What a field's value must be like beside its type: said once, next to the field, for the check and for the schema.

A field is declared as ``rounds: Annotated[int, Rule(least=1)]``; elements of a tuple or mapping have rules likewise.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from trainer.contract.fields import require


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Bounds of a number, the ``pattern`` of a text and what that is ``called``, or what a list or table must be.

    ``keys`` are the names that a table may have; empty for any.
    """

    least: float | None = None
    most: float | None = None
    pattern: str = ""
    called: str = ""
    filled: bool = False
    distinct: bool = False
    keys: tuple[str, ...] = ()

    def check(self, value: Any, path: str) -> None:
        """Refuse ``value``, which has the type of its field.

        Raises:
            ContractError: naming ``path``.
        """
        if isinstance(value, (int, float)):
            require(self._admits(value), path, f"is {value}; {self.bounds}")
        if isinstance(value, str) and self.pattern:
            require(bool(re.fullmatch(self.pattern, value)), path, f"is {value!r}; {self.called}")
        if self.filled:
            require(bool(value.strip() if isinstance(value, str) else value), path, "is empty")
        if self.distinct:
            doubled = sorted({str(v) for v in value if value.count(v) > 1})
            require(not doubled, path, f"names {', '.join(doubled)} twice")
        for key in value if self.keys else ():
            require(key in self.keys, f"{path}.{key}", f"is unknown; one of {', '.join(self.keys)}")

    @property
    def bounds(self) -> str:
        """The bounds in words: ``1 to 10``, ``0 or more``, ``1 or less``."""
        if self.least is None or self.most is None:
            one, word = (self.most, "less") if self.least is None else (self.least, "more")
            return "any number" if one is None else f"{one:.15g} or {word}"
        return f"{self.least:.15g} to {self.most:.15g}"

    def _admits(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def check_rules(document: Any) -> None:
    """Refuse the first field of the dataclass ``document`` that breaks a rule, or holds a number that is none.

    Raises:
        ContractError: naming the field.
    """
    for name, hint in hints_of(type(document)).items():  # type: ignore[arg-type]  # a class is hashable
        _check(hint, getattr(document, name), name)


@functools.cache
def hints_of(target: type) -> Mapping[str, Any]:
    """The types of a dataclass' fields, with their rules."""
    return typing.get_type_hints(target, include_extras=True)


def rules_of(hint: Any) -> tuple[Any, list[Rule]]:
    """The plain type of ``hint``, and its rules."""
    if typing.get_origin(hint) is typing.Annotated:
        plain, *extras = typing.get_args(hint)
        return plain, [extra for extra in extras if isinstance(extra, Rule)]
    return hint, []


def _check(hint: Any, value: Any, path: str) -> None:
    plain, rules = rules_of(hint)
    for rule in rules:
        rule.check(value, path)
    if isinstance(value, float):
        require(math.isfinite(value), path, f"is {value}; a finite number")
    origin, inner = typing.get_origin(plain), typing.get_args(plain)
    if isinstance(value, tuple):
        for number, element in enumerate(value):
            _check(inner[0], element, f"{path}[{number}]")
    elif isinstance(value, Mapping):
        for key, element in value.items():
            _check(inner[1], element, f"{path}.{key}")
    elif origin in (types.UnionType, typing.Union) and value is not None:
        for option in inner:
            if rules_of(option)[1]:
                _check(option, value, path)
