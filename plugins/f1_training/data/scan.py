"""The one query that answers all checks of a suite.

Every check of rows becomes a condition that is true for a row that does not pass. The query counts these, and keeps a
few keys; what it takes is judged in :mod:`f1_training.data.judge`. SQL is made of validated column names and of named
parameters only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from f1_training.bigquery import sql
from f1_training.bigquery.sql import Fragment, Parameter, Query
from f1_training.core.results import EXAMPLES, Check, Severity
from f1_training.data.suite import SPLIT, ColumnType, Start, Step, Suite, Total

#: The column that says which table of the suite a row is from.
LABEL = "suite_table"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCheck:
    """Rows for which ``condition`` is true do not pass; a share ``most`` of those for which ``among`` is may do so."""

    check: Check
    column: str
    condition: str
    expected: str
    most: float = 0.0
    among: str = ""
    severity: Severity = Severity.FAIL


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """The ``query``, and what it looks at: ``rows`` by their place in it, ``bins`` of columns, ``correlated`` features.

    ``skipped`` are checks that need a table which is not there, with the reason.
    """

    query: Query
    rows: tuple[RowCheck, ...]
    bins: Mapping[str, tuple[float, ...]]
    correlated: tuple[str, ...]
    skipped: tuple[tuple[Check, str, str], ...]


@dataclass(slots=True)
class _Parts:
    """What a query is put together from."""

    windows: list[str] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    checks: list[RowCheck] = field(default_factory=list)
    skipped: list[tuple[Check, str, str]] = field(default_factory=list)

    def window(self, expression: str) -> str:
        """A column of the inner query; its name."""
        name = f"window_{len(self.windows)}"
        self.windows.append(f"{expression} AS {name}")
        return name

    def parameter(self, kind: str, value: str | int | float | Sequence[str]) -> str:
        """A named parameter; how it is written."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = (kind, value)
        return f"@{name}"


def scan_of(
    suite: Suite,
    tables: Mapping[str, str],
    present: Mapping[str, ColumnType],
    raw: Mapping[str, str],
    *,
    today: date,
    features: Sequence[str] = (),
) -> Scan:
    """The scan of ``tables`` (full names by label), which have the columns ``present``.

    Args:
        suite: what is checked.
        tables: the suite's tables.
        present: columns that are there, with a type that the suite knows; checks of others are left to the schema's.
        raw: full names of the raw tables that exist, for references and totals.
        today: no row is newer.
        features: of all models that read the tables, for the search for leakage.
    """
    parts = _Parts()
    _columns(suite, present, parts)
    _keys(suite, parts)
    for step in suite.steps:
        _step(step, present, parts)
    for start in suite.starts:
        _start(start, present, parts)
    _constants(suite, present, parts)
    _references(suite, raw, parts)
    for total in suite.totals:
        _total(total, raw, present, parts)
    _future(suite, present, today, parts)
    bins = {name: c.drift for name, c in suite.columns.items() if c.drift and name in present}
    correlated = _correlated(suite, present, features)
    measures = [*_row_measures(parts.checks), *_other_measures(suite, present, bins, correlated, parts)]
    text = sql.render(
        sql.load("checks/table.sql"),
        {
            "key_text": sql.joined_text(suite.keys),
            "all_text": sql.joined_text(sorted(present)),
            "columns": Fragment(",\n        ".join(_name(c) for c in sorted(present))),
            "windows": Fragment(",\n        ".join(parts.windows)),
            "sources": Fragment(_sources(tables, present) + "".join(parts.joins)),
            "measures": Fragment(",\n    ".join(measures)),
        },
    )
    return Scan(
        query=Query(sql=text, parameters=parts.parameters),
        rows=tuple(parts.checks),
        bins=bins,
        correlated=correlated,
        skipped=tuple(parts.skipped),
    )


def shown(number: float) -> str:
    """A number for people."""
    return f"{int(number):,}" if number == int(number) else f"{number:g}"


def _name(column: str) -> str:
    return sql.column(column).text


def _names(columns: Sequence[str]) -> str:
    return ", ".join(_name(c) for c in columns)


def _sources(tables: Mapping[str, str], present: Mapping[str, ColumnType]) -> str:
    """Every table once. Rows know theirs; in a suite of several it is the split that they belong to, too."""
    selects = []
    for label, table in tables.items():
        named = f"'{label}' AS {LABEL}" + (f", '{label}' AS {SPLIT}" if len(tables) > 1 else "")
        listed = ", ".join(_name(c) for c in sorted(present))
        selects.append(f"SELECT {named}, {listed} FROM {sql.table(table).text}")
    return "(" + " UNION ALL ".join(selects) + ") AS source_rows"


def _columns(suite: Suite, present: Mapping[str, ColumnType], parts: _Parts) -> None:
    for column, declared in suite.columns.items():
        if column not in present:
            continue
        name = _name(column)
        least = suite.least(column)
        if least is not None:
            parts.checks.append(
                RowCheck(
                    check=Check.COMPLETENESS,
                    column=column,
                    condition=f"{name} IS NULL",
                    most=1 - least,
                    expected=f"{least:g} or more",
                )
            )
        if declared.type is ColumnType.FLOAT64:
            condition = f"IS_NAN({name}) OR IS_INF({name})"
            parts.checks.append(
                RowCheck(check=Check.FINITE, column=column, condition=condition, expected="a finite number")
            )
        outside, words = [], []
        for bound, sign, what in ((declared.min, "<", "at least"), (declared.max, ">", "at most")):
            if bound is not None:
                outside.append(f"{name} {sign} {parts.parameter('FLOAT64', float(bound))}")
                words.append(f"{what} {shown(bound)}")
        if outside:
            parts.checks.append(
                RowCheck(
                    check=Check.RANGE,
                    column=column,
                    condition=" OR ".join(outside),
                    most=declared.outside,
                    expected=" and ".join(words) + f" {declared.unit}".rstrip(),
                )
            )
        if declared.values:
            known = parts.parameter("STRING", declared.values)
            parts.checks.append(
                RowCheck(
                    check=Check.VALUES,
                    column=column,
                    condition=f"{name} IS NOT NULL AND NOT {name} IN UNNEST({known})",
                    most=declared.outside,
                    expected=f"one of {', '.join(declared.values)}",
                )
            )


def _keys(suite: Suite, parts: _Parts) -> None:
    copy = parts.window(f"ROW_NUMBER() OVER (PARTITION BY {_names([LABEL, *suite.keys])})")
    parts.checks.append(
        RowCheck(check=Check.UNIQUE, column="+".join(suite.keys), condition=f"{copy} > 1", expected="there once")
    )


def _step(step: Step, present: Mapping[str, ColumnType], parts: _Parts) -> None:
    if not {step.column, step.order} <= set(present):
        return
    over = f"OVER (PARTITION BY {_names([LABEL, *step.within])} ORDER BY {_name(step.order)})"
    before = parts.window(f"LAG({_name(step.column)}) {over}")
    condition = f"{_name(step.column)} - {before} != {step.by:d}"
    among = f"{before} IS NOT NULL"
    if step.order != step.column:
        place = parts.window(f"LAG({_name(step.order)}) {over}")
        among = f"{among} AND {_name(step.order)} - {place} = 1"
    parts.checks.append(
        RowCheck(
            check=Check.STEPS,
            column=step.column,
            condition=f"{among} AND {condition}",
            among=among,
            most=step.most,
            expected=f"{step.by:+d} from the one before, in order of {step.order}",
            severity=step.severity,
        )
    )


def _start(start: Start, present: Mapping[str, ColumnType], parts: _Parts) -> None:
    if not {start.column, start.order, start.where} <= set(present):
        return
    first = parts.window(f"MIN({_name(start.order)}) OVER (PARTITION BY {_names([LABEL, *start.within])})")
    among = f"{_name(start.where)} AND {_name(start.order)} = {first} AND {_name(start.column)} IS NOT NULL"
    parts.checks.append(
        RowCheck(
            check=Check.STEPS,
            column=f"{start.column}+{start.where}",
            condition=f"{among} AND {_name(start.column)} != {start.value:d}",
            among=among,
            most=start.most,
            expected=f"{start.value:d} at the start, where {start.where}",
        )
    )


def _constants(suite: Suite, present: Mapping[str, ColumnType], parts: _Parts) -> None:
    for constant in suite.constants:
        if constant.column not in present and constant.column != SPLIT:
            continue
        # Across the tables of a suite on purpose: a race in two of them is what is looked for.
        over = f"OVER (PARTITION BY {_names(constant.within)})"
        low = parts.window(f"MIN({_name(constant.column)}) {over}")
        high = parts.window(f"MAX({_name(constant.column)}) {over}")
        parts.checks.append(
            RowCheck(
                check=Check.LEAKAGE if constant.leakage else Check.CONSTANT,
                column=constant.column,
                condition=f"{low} != {high}",
                expected=f"with one value in its {'+'.join(constant.within)}",
            )
        )


def _references(suite: Suite, raw: Mapping[str, str], parts: _Parts) -> None:
    for reference in suite.references:
        columns = "+".join(reference.columns)
        if reference.table not in raw:
            parts.skipped.append((Check.REFERENCE, columns, f"there is no table {reference.table} to look them up in"))
            continue
        alias = f"reference_{len(parts.joins)}"
        table = sql.table(raw[reference.table]).text
        parts.joins.append(_join(alias, reference.columns, "", f"FROM {table}"))
        found = parts.window(f"{alias}.key_0")
        parts.checks.append(
            RowCheck(
                check=Check.REFERENCE,
                column=columns,
                condition=f"{found} IS NULL",
                expected=f"known to {reference.table}",
                severity=reference.severity,
            )
        )


def _total(total: Total, raw: Mapping[str, str], present: Mapping[str, ColumnType], parts: _Parts) -> None:
    if total.column not in present:
        return
    if total.table not in raw:
        parts.skipped.append((Check.TOTALS, total.column, f"there is no table {total.table} to compare the sums with"))
        return
    alias = f"official_{len(parts.joins)}"
    wanted = [f"{_name(c)} = {parts.parameter('STRING', value)}" for c, value in sorted(total.where.items())]
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    values = f", MAX({_name(total.official)}) AS official, MAX({_name(total.rows)}) AS official_rows"
    parts.joins.append(_join(alias, total.within, values, f"FROM {sql.table(raw[total.table]).text}{where}"))
    over, column = f"OVER (PARTITION BY {_names(total.within)})", _name(total.column)
    summed, counted = parts.window(f"SUM({column}) {over}"), parts.window(f"COUNT({column}) {over}")
    official, rows = parts.window(f"{alias}.official"), parts.window(f"{alias}.official_rows")
    first = parts.window(f"ROW_NUMBER() {over}")
    among = f"{first} = 1 AND {official} IS NOT NULL AND {counted} = {rows}"
    parts.checks.append(
        RowCheck(
            check=Check.TOTALS,
            column=total.column,
            condition=f"{among} AND ABS({summed} - {official}) > {parts.parameter('FLOAT64', total.tolerance)}",
            among=among,
            most=total.most,
            expected=f"of a sum within {shown(total.tolerance)} of {total.table}.{total.official}",
            severity=total.severity,
        )
    )


def _join(alias: str, keys: Sequence[str], values: str, source: str) -> str:
    """One row a key of another table, joined to the rows; its columns have names of their own, so none is ambiguous."""
    named = ", ".join(f"{_name(key)} AS key_{number}" for number, key in enumerate(keys))
    on = " AND ".join(f"source_rows.{_name(key)} = {alias}.key_{number}" for number, key in enumerate(keys))
    return f" LEFT JOIN (SELECT {named}{values} {source} GROUP BY {_names(keys)}) AS {alias} ON {on}"


def _future(suite: Suite, present: Mapping[str, ColumnType], today: date, parts: _Parts) -> None:
    for column in _dated(suite, present):
        is_text = present[column] is ColumnType.STRING
        now = parts.parameter("STRING", today.isoformat()) if is_text else parts.parameter("INT64", today.year)
        expected = f"of {today if is_text else today.year} or earlier"
        parts.checks.append(
            RowCheck(check=Check.FUTURE, column=column, condition=f"{_name(column)} > {now}", expected=expected)
        )


def _dated(suite: Suite, present: Mapping[str, ColumnType]) -> list[str]:
    """The columns that say how new a row is."""
    return [fresh.column for fresh in suite.freshness if fresh.column in present]


def _correlated(suite: Suite, present: Mapping[str, ColumnType], features: Sequence[str]) -> tuple[str, ...]:
    leakage = suite.leakage
    if leakage is None or not {leakage.target, leakage.among} <= set(present):
        return ()
    numbers = {name for name, kind in present.items() if kind.is_number}
    return tuple(f for f in sorted(set(features)) if f in numbers and f not in leakage.hindsight)


def _row_measures(checks: Sequence[RowCheck]) -> Iterator[str]:
    for number, check in enumerate(checks):
        yield f"COUNTIF({check.condition}) AS failing_{number}"
        key = f"IF({check.condition}, row_key, NULL)"
        yield f"ARRAY_AGG({key} IGNORE NULLS ORDER BY {key} LIMIT {EXAMPLES:d}) AS examples_{number}"
        if check.among:
            yield f"COUNTIF({check.among}) AS among_{number}"


def _other_measures(
    suite: Suite,
    present: Mapping[str, ColumnType],
    bins: Mapping[str, tuple[float, ...]],
    correlated: Sequence[str],
    parts: _Parts,
) -> Iterator[str]:
    yield f"COUNT(DISTINCT {_name(suite.group)}) AS group_count"
    for column in _dated(suite, present):
        yield f"CAST(MAX({_name(column)}) AS STRING) AS {_name('newest_' + column)}"
    for number, (column, edges) in enumerate(bins.items()):
        yield f"COUNT({_name(column)}) AS present_{number}"
        for place, edge in enumerate(edges):
            yield f"COUNTIF({_name(column)} <= {parts.parameter('FLOAT64', edge)}) AS bin_{number}_{place}"
    for number, feature in enumerate(correlated):
        assert suite.leakage is not None
        pair = [f"IF({_name(suite.leakage.among)}, {_number(c)}, NULL)" for c in (feature, suite.leakage.target)]
        yield f"CORR({pair[0]}, {pair[1]}) AS correlation_{number}"


def _number(column: str) -> str:
    return sql.as_number(column).text
