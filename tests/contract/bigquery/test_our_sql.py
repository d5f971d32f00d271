"""Every SQL file of ours is one statement with named parameters, and uses only functions that recorded answers vouch for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import sqlglot
from google.cloud import bigquery
from sqlglot import exp

from composer.local.bigquery.testing import running_bigquery
from composer.local.laps import emulator_client
from f1_training.bigquery.sql import PLACEHOLDER
from f1_training.data.scan import scan_of
from f1_training.data.suite import read_suites
from tests.contract.bigquery.recorded import read

REPOSITORY = Path(__file__).parents[3]
FILES = sorted((REPOSITORY / "include" / "sql").rglob("*.sql"))
RECORDED = read(Path(__file__).parent / "recorded_answers.jsonl")
#: What is no function but syntax to BigQuery, though sqlglot's parser has a class for it.
SYNTAX = {"AND", "OR", "CASE", "CAST", "TRY_CAST", "IF", "EXISTS"}
#: No recorded answer has these; each is held to what BigQuery's reference says of it, below.
DOCUMENTED: dict[str, list[tuple[str, object]]] = {
    "ABS": [("ABS(25)", 25), ("ABS(-25)", 25), ("ABS(NULL)", None)],
    "DATE": [
        ("DATE(TIMESTAMP '2016-12-25 05:30:00+07')", date(2016, 12, 24)),  # UTC unless it is told otherwise
        ("DATE(TIMESTAMP '2016-12-25 23:59:59+00')", date(2016, 12, 25)),
    ],
    "IS_INF": [
        ("IS_INF(CAST('inf' AS FLOAT64))", True),
        ("IS_INF(CAST('-inf' AS FLOAT64))", True),
        ("IS_INF(CAST('nan' AS FLOAT64))", False),
        ("IS_INF(25.0)", False),
        ("IS_INF(CAST(NULL AS FLOAT64))", None),
    ],
    "IS_NAN": [
        ("IS_NAN(CAST('nan' AS FLOAT64))", True),
        ("IS_NAN(25.0)", False),
        ("IS_NAN(CAST(NULL AS FLOAT64))", None),
    ],
    "SUBSTRING": [("SUBSTR('apple', 2)", "pple"), ("SUBSTR('apple', -2)", "le"), ("SUBSTR('C4', 2)", "4")],
    "DENSE_RANK": [
        ("(SELECT SUM(r) FROM (SELECT DENSE_RANK() OVER (ORDER BY x) AS r FROM UNNEST([1, 2, 2, 5, 8]) AS x))", 12),
    ],
    "LEAST": [("LEAST(3, 5, 1)", 1), ("LEAST(3, NULL)", None)],
    "GENERATE_SERIES": [("ARRAY_LENGTH(GENERATE_ARRAY(1, 5))", 5), ("ARRAY_LENGTH(GENERATE_ARRAY(5, 1))", 0)],
    "FARM_FINGERPRINT": [
        ("FARM_FINGERPRINT('1footrue')", -1541654101129638711),
        ("FARM_FINGERPRINT('2applefalse')", 2794438866806483259),
        ("FARM_FINGERPRINT(NULL)", None),
    ],
}


def functions(text: str) -> set[str]:
    found: set[str] = set()
    for node in sqlglot.parse_one(text, read="bigquery").find_all(exp.Func):
        names = [node.name] if isinstance(node, exp.Anonymous) else node.sql_names()
        found.add(names[0].upper())
    return found - SYNTAX


def filled(text: str) -> str:
    return PLACEHOLDER.sub("placeholder", text)


def vouched() -> set[str]:
    found: set[str] = set()
    for vector in RECORDED:
        if vector["served"]:
            for part in sqlglot.parse(filled(vector["sql"]).replace("placeholder.", ""), read="bigquery"):
                if part is not None:
                    found |= functions(part.sql("bigquery"))
    return found | set(DOCUMENTED)


def generated() -> dict[str, str]:
    raw = {name: f"p-x.r.{name}" for name in read_suites()}
    queries = {}
    for name, suite in read_suites().items():
        present = {column: declared.type for column, declared in suite.columns.items()}
        tables = {label: f"p-x.d.{label}" for label in suite.labels}
        queries[name] = scan_of(suite, tables, present, raw, today=date(2026, 1, 1), features=tuple(present)).query.sql
    return queries


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_a_file_is_one_statement_with_named_parameters(file: Path) -> None:
    text = file.read_text()
    statements = [s for s in sqlglot.parse(filled(text), read="bigquery") if s is not None]
    assert len(statements) == 1
    assert text.startswith("-- "), "a file says what it is for"
    assert not re.search(r"[^=]\?", re.sub(r"--.*", "", text)), "parameters have names"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_its_functions_are_vouched_for(file: Path) -> None:
    assert functions(filled(file.read_text())) - vouched() == set()


@pytest.mark.parametrize("name", generated())
def test_so_are_those_of_the_generated_checks(name: str) -> None:
    assert functions(generated()[name]) - vouched() == set()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bigquery.Client]:
    with running_bigquery(tmp_path_factory.mktemp("bigquery")) as endpoints:
        yield emulator_client(endpoints.rest)


@pytest.mark.parametrize("function", DOCUMENTED)
def test_documented_answers(client: bigquery.Client, function: str) -> None:
    for text, expected in DOCUMENTED[function]:
        ((found,),) = client.query(f"SELECT {text}").result(timeout=30)
        assert found == expected, text
