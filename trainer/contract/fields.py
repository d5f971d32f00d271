"""Strict JSON for frozen dataclasses: what is unknown, missing or of the wrong type is refused by its field's name.

Every document of the contract is a dataclass that derives from :class:`Document`. Its annotations are the schema:
``str``, ``int``, ``float``, ``bool``, ``StrEnum``, other dataclasses, ``tuple[X, ...]``, ``Mapping[str, X]``, unions
with ``None`` and unions of scalars. Standard library only, because both sides of the contract import it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

Scalar = str | int | float | bool
T = TypeVar("T")


class ContractError(ValueError):
    """A document of the contract is wrong. ``field`` is the dotted path of it, such as ``snapshot.table``."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def require(condition: bool, field: str, problem: str) -> None:
    """Raise :class:`ContractError` for ``field`` unless ``condition`` holds."""
    if not condition:
        raise ContractError(field, problem)


class Document:
    """A versioned JSON document. ``VERSION`` is written as ``version`` and any other is refused on reading."""

    VERSION: ClassVar[int] = 1
    KIND: ClassVar[str] = "document"

    def to_json(self) -> str:
        """The document as JSON text: sorted keys, so that equal documents are equal bytes."""
        body = {"kind": self.KIND, "version": self.VERSION, **encode(self)}
        return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the document that :meth:`to_json` wrote.

        Raises:
            ContractError: not JSON, another kind or version, or a field that is unknown, missing or wrong.
        """
        try:
            body = json.loads(text)
        except ValueError as e:
            raise ContractError(cls.KIND, f"is not JSON ({e})") from e
        if not isinstance(body, dict):
            raise ContractError(cls.KIND, "is not a JSON object")
        kind, version = body.pop("kind", None), body.pop("version", None)
        require(kind == cls.KIND, "kind", f"is {kind!r}, expected {cls.KIND!r}")
        require(version == cls.VERSION, "version", f"is {version!r}; this package reads version {cls.VERSION}")
        return decode(cls, body, "")


def encode(value: Any) -> Any:
    """Dataclasses, enums, tuples and mappings as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    return value


def decode(target: type[T], value: Any, path: str) -> T:
    """``value`` (plain JSON) as ``target``, a dataclass; ``path`` prefixes the fields that errors name."""
    if not isinstance(value, Mapping):
        raise ContractError(path or target.__name__, f"must be an object, is {_shown(value)}")
    hints = _hints(target)  # type: ignore[arg-type]  # a class is hashable
    fields = {f.name: f for f in dataclasses.fields(target)}  # type: ignore[arg-type]
    for name in value:
        require(name in fields, _join(path, str(name)), f"is unknown; known are {', '.join(sorted(fields))}")
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _coerce(hints[name], value[name], _join(path, name))
            continue
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        require(optional, _join(path, name), "is missing")
    try:
        return target(**arguments)
    except ContractError as e:
        if path:
            raise ContractError(_join(path, e.field), e.problem) from e
        raise


@functools.cache
def _hints(target: type) -> dict[str, Any]:
    return typing.get_type_hints(target)


def _coerce(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _coerce_union(typing.get_args(hint), value, path)
    if origin is tuple:
        require(isinstance(value, (list, tuple)), path, f"must be a list, is {_shown(value)}")
        inner = typing.get_args(hint)[0]
        return tuple(_coerce(inner, v, f"{path}[{i}]") for i, v in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        require(isinstance(value, Mapping), path, f"must be an object, is {_shown(value)}")
        inner = typing.get_args(hint)[1]
        return {str(k): _coerce(inner, v, _join(path, str(k))) for k, v in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return decode(hint, value, path)
    return _coerce_scalar(hint, value, path)


def _coerce_union(options: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in options:
        return None
    concrete = [o for o in options if o is not type(None)]
    if len(concrete) == 1:
        return _coerce(concrete[0], value, path)
    wanted = " or ".join(o.__name__ for o in concrete)
    require(type(value) in concrete, path, f"must be {wanted}, is {_shown(value)}")
    return value


def _coerce_scalar(hint: Any, value: Any, path: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        allowed = [member.value for member in hint]
        require(value in allowed, path, f"is {_shown(value)}; one of {', '.join(map(str, allowed))}")
        return hint(value)
    if hint is float and type(value) is int:
        return float(value)
    require(type(value) is hint, path, f"must be {getattr(hint, '__name__', hint)}, is {_shown(value)}")
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
