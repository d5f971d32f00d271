"""SQL is assembled from files and validated identifiers only."""

import pytest

from f1_training.bigquery import sql
from trainer.contract import ContractError

FILES = ("snapshot/training.sql", "snapshot/evaluation.sql", "snapshot/counts.sql", "checks/snapshot.sql")


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_part_of_the_package(name: str) -> None:
    assert "SELECT" in sql.load(name)


def test_every_placeholder_gets_its_identifier() -> None:
    text = sql.render("SELECT ${a} FROM ${b}", {"a": sql.column("x"), "b": sql.table("pro-ject.d.t")})
    assert text == "SELECT `x` FROM `pro-ject.d.t`"


@pytest.mark.parametrize("names", [{"a": sql.column("x")}, {n: sql.column("x") for n in ("a", "b", "c")}])
def test_placeholders_and_identifiers_must_match(names: dict[str, sql.Fragment]) -> None:
    with pytest.raises(ContractError, match="the SQL wants"):
        sql.render("SELECT ${a} FROM ${b}", names)


@pytest.mark.parametrize("name", ["", "a b", "a`b", "1a", "a;--", "a" * 129, "ä"])
def test_what_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match="column"):
        sql.column(name)
    with pytest.raises(ContractError, match="column"):
        sql.numbers([name])
    with pytest.raises(ContractError, match="column"):
        sql.joined_text([name])
    with pytest.raises(ContractError, match="column"):
        sql.counts_of([name], "n_")


@pytest.mark.parametrize("name", ["t", "d.t", "p.d.t` WHERE 1", "p.d.t;", "p..t", "P.d.t"])
def test_what_is_no_table_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match="table"):
        sql.table(name)


def test_a_row_s_key_is_never_null() -> None:
    expected = "CONCAT(COALESCE(CAST(`a` AS STRING), ''), '|', COALESCE(CAST(`b` AS STRING), ''))"
    assert sql.joined_text(["a", "b"]).text == expected
