"""BigQuery SQL to DuckDB SQL: sqlglot's translation, corrected where it would silently mean something else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from composer.local.bigquery.errors import ApiError, invalid_query
from composer.local.bigquery.functions import ALLOWED

logging.getLogger("sqlglot").setLevel(logging.ERROR)
INTEGERS = (exp.DataType.Type.BIGINT, exp.DataType.Type.INT)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableName:
    """A table in full."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"

    @property
    def sql(self) -> str:
        """Quoted for DuckDB."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.project, self.dataset, self.table))


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One translated statement. ``reads`` are the tables it reads, ``columns`` the column names it mentions.

    ``then`` is more SQL, run in the same transaction.
    """

    kind: str
    sql: str
    reads: tuple[TableName, ...]
    writes: TableName | None
    columns: frozenset[str] | None
    then: tuple[str, ...] = ()


def translate(sql: str, project: str, default_dataset: str | None) -> list[Statement]:
    """The statements of a query or script.

    Raises:
        ApiError: it cannot be parsed, or uses a function that this stand-in does not vouch for.
    """
    try:
        trees = [t for t in sqlglot.parse(sql, read="bigquery") if t is not None and not isinstance(t, exp.Semicolon)]
    except SqlglotError as e:
        raise invalid_query(f"Syntax error: {str(e).splitlines()[0]}") from e
    if not trees:
        raise invalid_query("Syntax error: Unexpected end of statement")
    return [_translated(tree, project, default_dataset) for tree in trees]


def restriction_sql(text: str) -> str:
    """A Storage Read row restriction as a DuckDB condition."""
    try:
        tree = sqlglot.parse_one(f"SELECT 1 WHERE {text}", read="bigquery")
    except SqlglotError as e:
        raise ApiError(400, "invalid", f"row restriction: {str(e).splitlines()[0]}") from e
    _require_allowed(tree)
    where = _corrected(tree).find(exp.Where)
    if where is None:
        raise ApiError(400, "invalid", "row restriction: is empty")
    return str(where.this.sql("duckdb"))


def _translated(tree: exp.Expression, project: str, default_dataset: str | None) -> Statement:
    if isinstance(tree, exp.Command):
        raise invalid_query(f"Statement not supported by this stand-in: {tree.sql('bigquery')[:60]}")
    _require_allowed(tree)
    target = _target(tree)
    reads: list[TableName] = []
    written: TableName | None = None
    aliases = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Func) or (not table.db and table.name in aliases):
            continue
        if isinstance(tree, exp.Create | exp.Drop) and tree.kind == "SCHEMA":
            continue
        name = _qualified(table, project, default_dataset)
        if table is target:
            written = name
        elif name not in reads:
            reads.append(name)
    kind = _kind(tree)
    every = any(isinstance(s, exp.Star) and not isinstance(s.parent, exp.Count) for s in tree.find_all(exp.Star))
    columns = None if every else frozenset(c.name for c in tree.find_all(exp.Column))
    then: tuple[str, ...] = ()
    if kind in ("CREATE_SCHEMA", "DROP_SCHEMA"):
        text = _schema_sql(tree)
    else:
        text, *then_ = [part.sql("duckdb") for part in _unmerged(_corrected(tree))]
        then = tuple(then_)
    return Statement(kind=kind, sql=text, reads=tuple(reads), writes=written, columns=columns, then=then)


def _unmerged(tree: exp.Expression) -> list[exp.Expression]:
    """A MERGE whose rows never match, BigQuery's way to replace rows at one stroke, as DELETE and INSERT: DuckDB would
    compare every row with every other.
    """
    on = tree.args.get("on") if isinstance(tree, exp.Merge) else None
    if not (isinstance(on, exp.Boolean) and not on.this and isinstance(tree.args["using"], exp.Table)):
        return [tree]
    target, source, parts = tree.this, tree.args["using"], list[exp.Expression]()
    for when in tree.args["whens"].expressions:
        then, condition = when.args["then"], when.args.get("condition")
        if when.args.get("source") and isinstance(then, exp.Var) and then.name.upper() == "DELETE":
            where = exp.Where(this=condition or exp.true())
            parts.insert(0, exp.Delete(this=target.copy(), where=where))
        elif not when.args.get("source") and isinstance(then, exp.Insert) and condition is None:
            rows = exp.Select(expressions=then.expression.expressions).from_(source.copy())
            into = exp.Schema(this=_unnamed(target), expressions=[c.this for c in then.this.expressions])
            parts.append(exp.Insert(this=into, expression=rows))
        else:
            return [tree]
    return parts


def _unnamed(table: exp.Table) -> exp.Table:
    copied: exp.Table = table.copy()
    copied.set("alias", None)
    return copied


def _qualified(table: exp.Table, project: str, default_dataset: str | None) -> TableName:
    parts = [p for piece in table.parts for p in piece.name.split(".")]
    if "INFORMATION_SCHEMA" in (p.upper() for p in parts):
        raise invalid_query("INFORMATION_SCHEMA is not served by this stand-in")
    if len(parts) == 1:
        if default_dataset is None:
            raise invalid_query(f'Table "{parts[0]}" must be qualified with a dataset (e.g. dataset.table).')
        parts = [default_dataset, *parts]
    if len(parts) == 2:
        parts = [project, *parts]
    name = TableName(project=parts[0], dataset=parts[1], table=parts[2])
    for key, part in zip(("catalog", "db", "this"), parts, strict=True):
        table.set(key, exp.to_identifier(part, quoted=True))
    if not table.alias and isinstance(table.parent, exp.From | exp.Join):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(parts[2], quoted=True)))
    return name


def _target(tree: exp.Expression) -> exp.Table | None:
    if isinstance(tree, exp.Create | exp.Insert | exp.Delete | exp.Update | exp.Merge | exp.Drop):
        inner = tree.this
        inner = inner.this if isinstance(inner, exp.Schema) else inner
        return inner if isinstance(inner, exp.Table) else None
    if isinstance(tree, exp.TruncateTable):
        found = tree.expressions[0]
        return found if isinstance(found, exp.Table) else None
    return None


def _kind(tree: exp.Expression) -> str:
    if isinstance(tree, exp.Create):
        if tree.kind == "SCHEMA":
            return "CREATE_SCHEMA"
        return "CREATE_TABLE_AS_SELECT" if tree.expression else "CREATE_TABLE"
    if isinstance(tree, exp.Drop):
        return "DROP_SCHEMA" if tree.kind == "SCHEMA" else "DROP_TABLE"
    kinds: Mapping[type[exp.Expression], str] = {
        exp.Insert: "INSERT",
        exp.Update: "UPDATE",
        exp.Delete: "DELETE",
        exp.Merge: "MERGE",
        exp.TruncateTable: "TRUNCATE_TABLE",
        exp.Transaction: "BEGIN_TRANSACTION",
        exp.Commit: "COMMIT_TRANSACTION",
        exp.Rollback: "ROLLBACK_TRANSACTION",
    }
    for kind, name in kinds.items():
        if isinstance(tree, kind):
            return name
    if isinstance(tree, exp.Query):
        return "SELECT"
    raise invalid_query(f"Statement not supported by this stand-in: {type(tree).__name__}")


def _schema_sql(tree: exp.Expression) -> str:
    parts = [p for piece in tree.this.parts for p in piece.name.split(".")]
    word = "CREATE SCHEMA IF NOT EXISTS" if isinstance(tree, exp.Create) else "DROP SCHEMA IF EXISTS"
    return f'{word} "{parts[-1]}"'


def _require_allowed(tree: exp.Expression) -> None:
    for node in tree.find_all(exp.Func):
        names = {node.name.upper()} if isinstance(node, exp.Anonymous) else {n.upper() for n in node.sql_names()}
        if not names & ALLOWED:
            raise invalid_query(f"Function not served by this stand-in: {sorted(names)[0]}")
    _require_same_parts(tree)


def _require_same_parts(tree: exp.Expression) -> None:
    for node in tree.find_all(exp.Extract):
        part = node.name.upper()
        if part not in (
            "YEAR",
            "MONTH",
            "DAY",
            "HOUR",
            "MINUTE",
            "SECOND",
            "QUARTER",
            "DAYOFYEAR",
            "ISOWEEK",
            "ISOYEAR",
        ):
            raise invalid_query(f"EXTRACT({part} ...) is not served by this stand-in: the engines count it differently")


def _corrected(tree: exp.Expression) -> exp.Expression:
    # Children first: what a correction builds is not corrected again.
    for node in reversed(list(tree.walk())):
        corrected = _correct(node)
        if corrected is not node:
            if node is tree:
                return corrected
            node.replace(corrected)
    return tree


def _correct(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Literal) and not node.is_string and not node.this.isdigit():
        # BigQuery's 0.5 is a FLOAT64, DuckDB's a DECIMAL.
        return node if isinstance(node.parent, exp.Cast) else exp.cast(node.copy(), "double")
    if isinstance(node, exp.CountIf):
        if isinstance(node.parent, exp.Coalesce):
            return node
        # NULL over no rows would be 0 on BigQuery.
        condition = exp.If(this=node.this.copy(), true=exp.Literal.number(1))
        return exp.Count(this=exp.Case(ifs=[condition]))
    if isinstance(node, exp.Div) and not node.args.get("safe"):
        return exp.Anonymous(this="bq_divide", expressions=[node.this.copy(), node.expression.copy()])
    if isinstance(node, exp.DateAdd | exp.DateSub | exp.DateTrunc):
        # DuckDB makes a timestamp of it.
        return exp.cast(node.copy(), "date")
    if isinstance(node, exp.Upper):
        # BigQuery writes the capital of the German sharp s with two letters.
        replaced = [node.copy(), exp.Literal.string("\u1e9e"), exp.Literal.string("SS")]
        return exp.Anonymous(this="replace", expressions=replaced)
    if isinstance(node, exp.Mod):
        return exp.Anonymous(this="bq_mod", expressions=[_bare(node.this), _bare(node.expression)])
    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast) and node.to.this in INTEGERS:
        return _cast_to_int(node)
    if isinstance(node, exp.Properties):
        return exp.Properties(expressions=[])
    if isinstance(node, exp.IgnoreNulls) and isinstance(node.this, exp.ArrayAgg):
        return _array_agg(node.this, ignore_nulls=True)
    if isinstance(node, exp.ArrayAgg) and not isinstance(node.parent, exp.IgnoreNulls):
        return _array_agg(node, ignore_nulls=False)
    return node


def _array_agg(node: exp.ArrayAgg, *, ignore_nulls: bool) -> exp.Expression:
    """Without LIMIT, which DuckDB has not inside an aggregate; an array with a null in it is an error on BigQuery."""
    inner, limit = node.this.copy(), None
    if isinstance(inner, exp.Limit):
        inner, limit = inner.this, inner.expression
        if ignore_nulls and _is_smallest(inner):
            # The same, without a list of all values.
            return exp.Anonymous(this="min", expressions=[inner.this, limit])
    found: exp.Expression = exp.Anonymous(this="list", expressions=[inner])
    if ignore_nulls:
        value = inner.this if isinstance(inner, exp.Order) else inner
        found = exp.Filter(
            this=found, expression=exp.Where(this=exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null())))
        )
    else:
        found = exp.Anonymous(this="bq_no_nulls", expressions=[found])
    if limit is None:
        return found
    return exp.Anonymous(this="list_slice", expressions=[found, exp.Literal.number(1), limit])


def _is_smallest(node: exp.Expression) -> bool:
    """Whether ``node`` is a value in ascending order of itself."""
    if not isinstance(node, exp.Order) or len(node.expressions) != 1:
        return False
    (ordered,) = node.expressions
    return ordered.this == node.this and not ordered.args.get("desc")


def _bare(node: exp.Expression) -> exp.Expression:
    copied: exp.Expression = node.copy()
    return copied.this if isinstance(copied, exp.Paren) else copied


def _cast_to_int(node: exp.Cast) -> exp.Expression:
    """By way of a decimal, which DuckDB rounds away from zero at a half, as BigQuery does; else it is to even."""
    through = exp.cast(node.this.copy(), exp.DataType.build("DECIMAL(38, 0)"))
    return exp.Cast(this=through, to=node.to.copy())
