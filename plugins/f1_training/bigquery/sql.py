"""The SQL files of ``include/sql``: values are named parameters, ``${name}`` stands for identifiers only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from trainer.contract.fields import require

COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
TABLE = re.compile(r"[a-z][a-z0-9.:-]{1,61}[a-z0-9]\.[A-Za-z0-9_]{1,1024}\.[A-Za-z0-9_-]{1,1024}")
PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Fragment:
    """SQL that is made of validated identifiers only. Made by the functions below, placed by :func:`render`."""

    text: str


#: BigQuery's type and a value of it, or several.
Parameter = tuple[str, str | int | float | Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """SQL in BigQuery's dialect with its named parameters."""

    sql: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def load(name: str) -> str:
    """The SQL file ``name``, such as ``snapshot/training.sql``."""
    folder, _, file = name.rpartition("/")
    return resources.files("f1_training").joinpath("sql", folder, file).read_text(encoding="utf-8")


def render(text: str, identifiers: Mapping[str, Fragment]) -> str:
    """``text`` with every ``${name}`` replaced.

    Raises:
        ContractError: a placeholder has no value, or a value no placeholder.
    """
    wanted = set(PLACEHOLDER.findall(text))
    require(wanted == set(identifiers), "identifiers", f"has {sorted(identifiers)}, the SQL wants {sorted(wanted)}")
    return PLACEHOLDER.sub(lambda match: identifiers[match[1]].text, text)


def column(name: str) -> Fragment:
    """A column, in backquotes.

    Raises:
        ContractError: ``name`` is no column name.
    """
    require(bool(COLUMN.fullmatch(name)), "column", f"is {name!r}; letters, digits and _")
    return Fragment(f"`{name}`")


def table(name: str) -> Fragment:
    """A table as ``project.dataset.table``, in backquotes.

    Raises:
        ContractError: ``name`` is no full table name.
    """
    require(bool(TABLE.fullmatch(name)), "table", f"is {name!r}; expected project.dataset.table")
    return Fragment(f"`{name}`")


def as_text(name: str) -> Fragment:
    """A column as STRING."""
    return Fragment(f"CAST({column(name).text} AS STRING)")


def as_number(name: str) -> Fragment:
    """A column as FLOAT64."""
    return Fragment(f"CAST({column(name).text} AS FLOAT64)")


def numbers(names: Sequence[str]) -> Fragment:
    """A list of columns as FLOAT64 under their own names."""
    return Fragment(",\n        ".join(f"{as_number(name).text} AS {column(name).text}" for name in names))


def texts(names: Mapping[str, str]) -> Fragment:
    """A list of columns as STRING, each under another name: from that name to the column's."""
    return Fragment(",\n        ".join(f"{as_text(old).text} AS {column(new).text}" for new, old in names.items()))


def joined_columns(*lists: Fragment) -> Fragment:
    """Lists of columns as one; an empty list adds nothing."""
    return Fragment(",\n        ".join(some.text for some in lists if some.text))


def joined_text(names: Sequence[str]) -> Fragment:
    """Columns as one text, in order; a NULL is as an empty text, so that the key of a row is never NULL."""
    separated = ", '|', ".join(f"COALESCE({as_text(name).text}, '')" for name in names)
    return Fragment(f"CONCAT({separated})")


def counts_of(names: Sequence[str], prefix: str) -> Fragment:
    """A list of the numbers of non-null values of columns, each named ``prefix`` + the column's name."""
    return Fragment(",\n    ".join(f"COUNT({column(n).text}) AS {column(prefix + n).text}" for n in names))
