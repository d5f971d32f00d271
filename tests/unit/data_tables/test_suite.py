"""Suites are data: all of ours can be read, and a wrong one is refused by file, field and reason."""

from pathlib import Path

import pytest

from f1_training.data.suite import FOLDER, ColumnType, Place, read_suite, read_suites, strategy_suite
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
    assert {name for name, suite in suites.items() if suite.place is Place.STRATEGY} == {"strategy"}
    assert strategy_suite().labels == ("train", "validation", "test")


def test_every_feature_target_and_key_of_the_catalogue_is_checked() -> None:
    columns = strategy_suite().columns
    for entry in read_catalogue().entries.values():
        assert {*entry.features, entry.target, entry.eligible, entry.group, *entry.keys} <= set(columns)


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
        ("min = 0", "mini = 0", "t.toml: columns.age.mini: is unknown"),
        ("[columns]", "[columns", "t.toml: is no TOML"),
        ("[columns]", '[[steps]]\ncolumn = "x"\nwithin = []\norder = "age"\n[columns]', "t.toml: steps: names 'x'"),
    ],
)
def test_a_wrong_suite_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ContractError, match=said.replace("[", r"\[").replace(".", r"\.")):
        read_suite(written(tmp_path, GOOD.replace(old, new, 1)))
