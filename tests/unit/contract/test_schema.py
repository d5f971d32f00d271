"""The JSON schema beside the catalogue's files: as the dataclasses are, and as strict as :func:`read_entry` can be in it.

Write the file anew with ``UPDATE_GOLDEN=1``.
"""

import os
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.unit.contract.test_catalogue import BROKEN, GOOD, multiclass
from trainer.contract import schema
from trainer.contract.catalogue import FOLDER

VALIDATOR = Draft202012Validator(schema.catalogue_schema())


def test_the_file_is_what_the_dataclasses_say() -> None:
    Draft202012Validator.check_schema(schema.catalogue_schema())
    if os.environ.get("UPDATE_GOLDEN"):
        schema.PATH.write_text(schema.text())
    assert schema.PATH.read_text() == schema.text(), "run with UPDATE_GOLDEN=1 and read the difference"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_file_names_the_schema_and_keeps_to_it(path: Path) -> None:
    text = path.read_text()
    assert text.splitlines()[0] == f"#:schema ./{schema.PATH.name}"
    assert [e.message for e in VALIDATOR.iter_errors(tomllib.loads(text))] == []


@pytest.mark.parametrize(("old", "new", "_message"), BROKEN, ids=lambda text: text[:40])
def test_an_editor_refuses_what_is_refused_when_the_file_is_read(old: str, new: str, _message: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(GOOD.replace(old, new, 1)))


@pytest.mark.parametrize("line", ["classes = 3", 'class_names = ["a", "b"]', 'class_names = ["a", "b"]\nclasses = 2'])
def test_classes_are_taken_as_they_are_when_the_file_is_read(tmp_path: Path, line: str) -> None:
    multiclass(tmp_path, line)
    assert VALIDATOR.is_valid(tomllib.loads((tmp_path / "tire_degradation.toml").read_text()))


def test_every_field_of_a_model_is_described() -> None:
    properties = schema.catalogue_schema()["properties"]
    assert [name for name, field in properties.items() if not field.get("description")] == []
