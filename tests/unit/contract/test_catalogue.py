"""A bad catalogue file is refused by file, field and reason, and breaks no other model."""

from pathlib import Path

import pytest

from trainer.contract import CatalogueError, ContractError, Engine
from trainer.contract.catalogue import (
    FOLDER,
    GatesEntry,
    check_workers,
    device_for,
    read_catalogue,
    read_entry,
    with_engine,
)

GOOD = (FOLDER / "tire_degradation.toml").read_text()


def test_every_file_of_the_package_reads() -> None:
    catalogue = read_catalogue()
    assert catalogue.problems == ()
    assert "tire_degradation" in catalogue.entries


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "schema: is 2"),
        ('engine = "xgboost"', 'engine = "catboost"', "engine: is 'catboost'"),
        ('model_type = "tire_degradation"', 'model_type = "other"', "model_type: is 'other' in a file named"),
        ("rounds = ", "runds = ", "runds: is unknown"),
        ('owner = "', 'owner = 3 # "', "owner: must be str"),
        ("schema = 1", "schema = 1 =", "Expected newline"),
        ('feature = "fuel_fraction"', 'feature = "fuel"', "curves[1]: names 'fuel', which is no feature"),
        ('SOFT = "compound_soft"', 'SOFT = "soft"', "curves[0]: names 'soft', which is no feature"),
        ("low = 1\n", "low = 40\n", "curves[0].high: is 35.0; more than low, 40.0"),
        ('name = "season"', 'name = "circuit"', "breakdown: has two of one name"),
        (
            "beats_baseline = true",
            "most = { tset_mae = 1 }",
            "gates.most.tset_mae: is no metric of the evaluation: test_mae",
        ),
        ("beats_baseline = true", "least = { accuracy = 1 }", "gates.least.accuracy: is no metric"),
    ],
)
def test_a_bad_file_is_named_with_field_and_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "tire_degradation.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(CatalogueError) as caught:
        read_entry(path)
    assert "tire_degradation.toml: " in str(caught.value)
    assert message in str(caught.value)


def test_an_entry_of_before_there_were_gates_and_curves_is_complete(tmp_path: Path) -> None:
    start, end = GOOD.index("# What a set costs"), GOOD.index("[splits]")
    path = tmp_path / "tire_degradation.toml"
    path.write_text(GOOD[:start] + GOOD[end:])
    entry = read_entry(path)
    assert (entry.curves, entry.breakdown, entry.gates) == ((), (), GatesEntry())


def test_one_bad_file_breaks_no_other_model(tmp_path: Path) -> None:
    (tmp_path / "tire_degradation.toml").write_text(GOOD)
    (tmp_path / "broken.toml").write_text("nonsense")
    catalogue = read_catalogue(tmp_path)
    assert catalogue.entry("tire_degradation").engine is Engine.XGBOOST
    with pytest.raises(CatalogueError, match=r"unknown model type 'broken'.*tire_degradation.*broken\.toml"):
        catalogue.entry("broken")


def test_choices_of_a_person_are_checked() -> None:
    entry = read_catalogue().entry("tire_degradation")
    assert with_engine(entry, "lightgbm").engine is Engine.LIGHTGBM
    assert with_engine(entry, None) is entry
    assert device_for(Engine.XGBOOST, "GPU") == "cuda"
    assert device_for(Engine.LIGHTGBM, "gpu") == "gpu"
    for call in (
        lambda: with_engine(entry, "catboost"),
        lambda: device_for(Engine.XGBOOST, "tpu"),
        lambda: check_workers(entry, 0),
        lambda: check_workers(entry, 11),
    ):
        with pytest.raises(ContractError):
            call()
