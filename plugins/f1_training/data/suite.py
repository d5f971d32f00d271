"""What each table must be like, as data: one TOML file a table in ``suites``, read into :class:`Suite`."""

from __future__ import annotations

import enum
import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from f1_training.core.results import Severity
from trainer.contract.fields import ContractError, decode, require

FOLDER = Path(__file__).parent / "suites"
SCHEMA = 1
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: What rows of a suite with several tables are told apart by.
SPLIT = "split"


class ColumnType(enum.StrEnum):
    """A BigQuery standard SQL type."""

    STRING = "STRING"
    INT64 = "INT64"
    FLOAT64 = "FLOAT64"
    BOOL = "BOOL"

    @property
    def arrow(self) -> Any:
        """The Arrow type in which columns of this type are written."""
        import pyarrow as pa  # not at module level: suites are also read where nothing is ingested

        types = {"STRING": pa.string(), "INT64": pa.int64(), "FLOAT64": pa.float64(), "BOOL": pa.bool_()}
        return types[self.value]

    def admits(self, found: Any) -> bool:
        """Whether a column of Arrow type ``found`` can hold this type's values.

        A float column may stand for integers, because writers without nullable integers turn an integer column with
        gaps into floats; its values must then be whole. A column of nulls only has no type of its own.
        """
        import pyarrow as pa

        value = found.value_type if pa.types.is_dictionary(found) else found
        if pa.types.is_null(value):
            return True
        number = pa.types.is_integer(value) or pa.types.is_floating(value)
        text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
        match self:
            case ColumnType.STRING:
                return text
            case ColumnType.BOOL:
                return pa.types.is_boolean(value)
            case _:
                return number

    @property
    def is_number(self) -> bool:
        """Whether its values can be compared with bounds."""
        return self in (ColumnType.INT64, ColumnType.FLOAT64)


class Place(enum.StrEnum):
    """Which dataset a table is in: what came, or what models are trained on."""

    RAW = "raw"
    STRATEGY = "strategy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column. An ``optional`` one may be absent from what is ingested; it is then null.

    ``completeness`` is the least share of values that are there (by default 0.95, and none for optional columns);
    ``min``, ``max`` and ``values`` bound them, but for a share ``outside``. ``drift`` are the upper edges of the bins
    in which the distribution is compared with that of the last good table; ``unit`` labels their plot.
    """

    type: ColumnType
    optional: bool = False
    completeness: float | None = None
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] = ()
    outside: float = 0.0
    drift: tuple[float, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        share = self.completeness
        require(share is None or 0 <= share <= 1, "completeness", f"is {share}; 0 to 1")
        require(0 <= self.outside < 1, "outside", f"is {self.outside}; 0 to less than 1")
        bounded = self.min is not None or self.max is not None or bool(self.drift)
        require(not bounded or self.type.is_number, "type", f"is {self.type}; min, max and drift are for numbers")
        require(not self.values or self.type is ColumnType.STRING, "values", f"are for STRING, not {self.type}")
        require(list(self.drift) == sorted(set(self.drift)), "drift", "must rise: the upper edges of bins")

    @property
    def least(self) -> float | None:
        """The least share of values, None where any will do."""
        if self.completeness is None:
            return None if self.optional else 0.95
        return self.completeness


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """``min`` rows at least, and not fewer than ``least_of_last`` times the rows of the last good table; nor fewer
    groups, such as races, than ``least_groups_of_last`` times its.
    """

    min: int = 1
    least_of_last: float = 0.98
    least_groups_of_last: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """``column`` changes by ``by`` from a row to the next one in ``order``, ``within`` the same group.

    Where the column orders the rows itself, there is no gap in it. A share ``most`` may break this.
    """

    column: str
    within: tuple[str, ...]
    order: str
    by: int = 1
    most: float = 0.0
    severity: Severity = Severity.FAIL


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """``column`` is ``value`` in the first row in ``order``, ``within`` each group whose ``where`` is true."""

    column: str
    within: tuple[str, ...]
    order: str
    value: int
    where: str
    most: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """``column`` has one value ``within`` a group. ``leakage`` says that another value is rows seen twice."""

    column: str
    within: tuple[str, ...]
    leakage: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The values of ``columns`` are those of a row of the raw table ``table``, under the same names."""

    columns: tuple[str, ...]
    table: str
    severity: Severity = Severity.FAIL


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """The sum of ``column`` ``within`` a group is ``official`` of the raw table ``table``, but for ``tolerance``.

    Only groups count whose values are all there, as many as the table's column ``rows`` says, and only rows of the
    table ``where`` a column has a value. A share ``most`` of these groups may differ.
    """

    column: str
    within: tuple[str, ...]
    table: str
    official: str
    rows: str
    tolerance: float
    where: Mapping[str, str] = field(default_factory=dict)
    most: float = 0.0
    severity: Severity = Severity.FAIL


@dataclass(frozen=True, kw_only=True, slots=True)
class Freshness:
    """``column`` says how new a row is: a date as text, or a year. It is never in the future, and the newest is no
    older than in the last good table; older than ``max_age_days`` is a warning.
    """

    column: str
    max_age_days: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """The population stability index from which the change of a column's distribution is a warning, or a failure."""

    warn: float = 0.2
    fail: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Leakage:
    """``hindsight`` columns are known only when a row's outcome is, so no model may have them as features; a feature
    that is correlated with ``target`` by more than ``most``, in rows where ``among`` is true, is one in disguise.
    """

    target: str
    among: str
    most: float
    hindsight: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """All checks of the tables ``tables`` (by default one of the suite's own name), which are alike.

    ``keys`` tell rows apart; rows of one ``group`` are replaced together when it is ingested again. Tables that models
    are trained on come from the SQL file ``query``, over the raw tables that it ``needs``. Field by field what the TOML
    file says; see ``suites/laps.toml``.
    """

    name: str
    place: Place
    description: str
    keys: tuple[str, ...]
    group: str
    columns: Mapping[str, Column]
    tables: tuple[str, ...] = ()
    query: str = ""
    needs: tuple[str, ...] = ()
    rows: Rows = field(default_factory=Rows)
    steps: tuple[Step, ...] = ()
    starts: tuple[Start, ...] = ()
    constants: tuple[Constant, ...] = ()
    references: tuple[Reference, ...] = ()
    totals: tuple[Total, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    drift: Drift = field(default_factory=Drift)
    leakage: Leakage | None = None

    def __post_init__(self) -> None:
        for name in self.columns:
            require(bool(IDENTIFIER.fullmatch(name)), f"columns.{name}", "is not a column name")
        for name, columns in self._mentioned():
            for column in columns:
                known = column in self.columns or (column == SPLIT and len(self.labels) > 1)
                require(known, name, f"names {column!r}, which is not among the columns")
        derived = self.place is Place.STRATEGY
        require(derived == bool(self.query), "query", "is the SQL file of tables that are derived, and of no others")
        require(derived == bool(self.needs), "needs", "names the raw tables of one that is derived, and of no other")
        fixed = (*self.keys, self.group)
        for column in fixed:
            require(not self.columns[column].optional, f"columns.{column}", "is a key, so it cannot be optional")

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return tuple(name for name, column in self.columns.items() if not column.optional)

    def least(self, column: str) -> float | None:
        """The least share of values of ``column``, None where any will do; keys are always there."""
        return 1.0 if column in (*self.keys, self.group) else self.columns[column].least

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its tables."""
        return self.tables or (self.name,)

    def _mentioned(self) -> list[tuple[str, tuple[str, ...]]]:
        found = [("keys", self.keys), ("group", (self.group,))]
        found += [("steps", (s.column, *s.within, s.order)) for s in self.steps]
        found += [("starts", (s.column, *s.within, s.order, s.where)) for s in self.starts]
        found += [("constants", (c.column, *c.within)) for c in self.constants]
        found += [("references", r.columns) for r in self.references]
        found += [("totals", (t.column, *t.within)) for t in self.totals]
        found += [("freshness", (f.column,)) for f in self.freshness]
        found += [("leakage", (self.leakage.target, self.leakage.among))] if self.leakage else []
        return found


def read_suite(path: Path) -> Suite:
    """The suite in ``path``.

    Raises:
        ContractError: naming the file, the field and the reason.
    """
    try:
        body: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        schema = body.pop("schema", None)
        require(schema == SCHEMA, "schema", f"is {schema!r}; this package reads schema {SCHEMA}")
        suite = decode(Suite, body, "")
        require(suite.name == path.stem, "name", f"is {suite.name!r} in a file named {path.name}")
    except ContractError as e:
        raise ContractError(f"{path.name}: {e.field}", e.problem) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ContractError(path.name, f"is no TOML: {e}") from e
    return suite


@functools.cache
def read_suites(folder: Path = FOLDER) -> Mapping[str, Suite]:
    """Every suite of ``folder`` by its name.

    Raises:
        ContractError: naming the file that is wrong, the field and the reason.
    """
    return {path.stem: read_suite(path) for path in sorted(folder.glob("*.toml"))}


def raw_suites() -> Mapping[str, Suite]:
    """The suites of the raw tables."""
    return {name: suite for name, suite in read_suites().items() if suite.place is Place.RAW}


def strategy_suites() -> Mapping[str, Suite]:
    """The suites of the tables that models are trained and scored on."""
    return {name: suite for name, suite in read_suites().items() if suite.place is Place.STRATEGY}


def derived_from(tables: Iterable[str]) -> tuple[str, ...]:
    """The tables that models read and ``tables`` (raw ones, derived ones, suites) say something about.

    A raw table that nothing is derived from is there to check others with, so it concerns them all.
    """
    found: list[str] = []
    for table in tables:
        suites = [s for s in strategy_suites().values() if table in (s.name, *s.labels, *s.needs)]
        found += [label for suite in suites or strategy_suites().values() for label in suite.labels]
    return tuple(dict.fromkeys(found))


def strategy_labels() -> tuple[str, ...]:
    """The names of all tables that models are trained and scored on."""
    return tuple(label for suite in strategy_suites().values() for label in suite.labels)
