"""Suites are data: all of ours can be read, and a wrong one is refused by file, field and reason."""

import re
from pathlib import Path

import pytest

from f1_training.bigquery import sql
from f1_training.data.lap_columns import SPLITS
from f1_training.data.suite import (
    FOLDER,
    ColumnType,
    Suite,
    derived_from,
    raw_suites,
    read_suite,
    read_suites,
    strategy_suites,
)
from trainer.contract import ContractError, read_catalogue

GOOD = """
schema = 1
name = "t"
place = "raw"
description = "x"
keys = ["race_id"]
group = "race_id"
[columns]
race_id = { type = "STRING" }
age = { type = "INT64", min = 0, max = 9, drift = [1, 2] }
note = { type = "STRING", optional = true }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "t.toml"
    path.write_text(text)
    return path


def test_ours_can_be_read() -> None:
    suites = read_suites()
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(suites)
    assert set(strategy_suites()) == {"strategy", "fuel", "brakes", "driving"}
    assert strategy_suites()["strategy"].labels == SPLITS == ("train", "validation", "test")


@pytest.mark.parametrize("suite", strategy_suites().values(), ids=strategy_suites())
def test_a_derived_suite_has_a_table_a_split_and_sql_over_what_it_needs(suite: Suite) -> None:
    assert [label.rpartition("_")[2] for label in suite.labels] == list(SPLITS)
    assert set(suite.needs) <= set(raw_suites())
    sql.render(sql.load(suite.query), {f"{name}_table": sql.table(f"project.raw.{name}") for name in suite.needs})


def test_laps_are_split_by_one_rule_in_every_file() -> None:
    rules = set()
    for suite in (suite for suite in strategy_suites().values() if "laps" in suite.needs):
        rule = re.search(r"WHERE\n\s+@split = 'all'.*?END\n\s+\)\n", sql.load(suite.query), re.DOTALL)
        assert rule is not None, suite.query
        rules.add(rule[0].replace("laps.", ""))
    assert len(rules) == 1


def test_every_feature_target_and_key_of_the_catalogue_is_checked() -> None:
    for entry in read_catalogue().entries.values():
        (suite,) = [s for s in strategy_suites().values() if entry.splits.train in s.labels]
        assert (entry.splits.train, entry.splits.validation, entry.splits.test) == suite.labels
        assert suite.leakage is not None
        outcome = {entry.target, entry.eligible}
        assert outcome <= set(suite.leakage.hindsight)
        assert {*entry.features, *outcome, entry.group, *entry.keys} <= set(suite.columns)


@pytest.mark.parametrize(
    ("table", "suites"),
    [
        ("fuel_test", ["fuel"]),
        ("strategy", ["strategy"]),
        ("car_laps", ["brakes", "fuel"]),
        ("telemetry_laps", ["driving"]),
        ("laps", ["brakes", "fuel", "strategy"]),
        ("results", ["brakes", "driving", "fuel", "strategy"]),  # which laps are compared with
    ],
)
def test_what_is_wrong_with_a_table_concerns_those_that_are_derived_from_it(table: str, suites: list[str]) -> None:
    assert derived_from([table, table]) == tuple(label for name in suites for label in strategy_suites()[name].labels)


def test_defaults(tmp_path: Path) -> None:
    suite = read_suite(written(tmp_path, GOOD))
    assert suite.labels == ("t",)
    assert suite.needed == ("race_id", "age")
    assert [suite.least(name) for name in ("race_id", "age", "note")] == [1.0, 0.95, None]
    assert suite.columns["age"].type is ColumnType.INT64


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema = 1", "schema = 9", "t.toml: schema: is 9"),
        ('name = "t"', 'name = "u"', "t.toml: name: is 'u' in a file named t.toml"),
        ('place = "raw"', 'place = "attic"', "t.toml: place: is 'attic'"),
        ('keys = ["race_id"]', 'keys = ["nope"]', "t.toml: keys: names 'nope', which is not among the columns"),
        ('group = "race_id"', 'group = "note"', "t.toml: columns.note: is a key, so it cannot be optional"),
        ("min = 0", "completeness = 2.0", "t.toml: columns.age.completeness: is 2.0; 0 to 1"),
        ("drift = [1, 2]", "drift = [2, 1]", "t.toml: columns.age.drift: must rise"),
        ('type = "STRING" }\nage', 'type = "STRING", min = 1 }\nage', "t.toml: columns.race_id.type: is STRING"),
        ("min = 0", 'values = ["a"]', "t.toml: columns.age.values: are for STRING"),
        ('place = "raw"', 'place = "strategy"', "t.toml: query: is the SQL file of tables that are derived"),
        ('place = "raw"', 'place = "strategy"\nquery = "q.sql"', "t.toml: needs: names the raw tables"),
        ("min = 0", "mini = 0", "t.toml: columns.age.mini: is unknown"),
        ("[columns]", "[columns", "t.toml: is no TOML"),
        ("[columns]", '[[steps]]\ncolumn = "x"\nwithin = []\norder = "age"\n[columns]', "t.toml: steps: names 'x'"),
    ],
)
def test_a_wrong_suite_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ContractError, match=said.replace("[", r"\[").replace(".", r"\.")):
        read_suite(written(tmp_path, GOOD.replace(old, new, 1)))
