"""A scaffolded file is a model: it can be read and planned. What cannot be one is refused, and nothing is left of it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from composer.local.places import REPOSITORY
from composer.new_model import main, scaffold
from f1_training.core.plan import plan_runs
from f1_training.data.suite import strategy_suites
from tests.fakes.run_plan import RUN, settings
from trainer.contract import Engine, Schedule, read_catalogue
from trainer.contract.catalogue import FOLDER, read_entry

DOC = (REPOSITORY / "docs" / "models.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The package's files, to add one to."""
    return Path(shutil.copytree(FOLDER, tmp_path / "models"))


def make(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """``command`` as it is documented, with this environment and another folder."""
    words = command.split()
    assert words[:2] == ["make", "new-model"]
    ours = ["-s", "-o", ".venv/.run", f"BIN={Path(sys.executable).parent}", f"FOLDER={folder}"]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"}
    return subprocess.run(
        ["make", *ours, *words[1:]], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60
    )


def test_a_model_is_added_as_documented(folder: Path) -> None:
    section = DOC.partition("\n## Adding a model\n")[2].partition("\n## ")[0]
    (command,) = re.findall(r"^make new-model .*$", section, re.MULTILINE)
    done = make(command, folder)
    assert done.returncode == 0, done.stderr
    name = re.findall(r"NAME=(\w+)", command)[0]
    assert f"make run MODEL={name} DRY_RUN=1" in done.stdout

    before, catalogue = read_catalogue(), read_catalogue(folder)
    assert catalogue.problems == {}
    assert set(catalogue.entries) - set(before.entries) == {name}
    entry = catalogue.entry(name)
    assert (entry.engine, entry.target) == (Engine.LIGHTGBM, re.findall(r"TARGET=(\w+)", command)[0])
    (plan,) = plan_runs({"model_type": name}, settings(), RUN, catalogue, "0.1.0")
    assert plan.entry == entry
    # Not yet for every run: as the section says, somebody has to want that.
    assert entry.schedule is Schedule.ON_DEMAND
    weekly = plan_runs({"model_type": "all"}, settings(), RUN, catalogue, "0.1.0")
    assert [plan.model_type for plan in weekly] == [entry.model_type for entry in before.weekly()]


@pytest.mark.parametrize("engine", list(Engine))
def test_left_to_itself_it_sees_all_that_is_known_before_the_target(tmp_path: Path, engine: Engine) -> None:
    entry = read_entry(scaffold(tmp_path, "fifth", engine=engine.value))
    suite = strategy_suites()["strategy"]
    assert suite.leakage is not None
    assert entry.target == suite.leakage.target
    assert set(entry.features) == {n for n, c in suite.columns.items() if c.type.is_number} - set(
        suite.leakage.hindsight
    )
    assert entry.engine_params(engine)
    assert (tmp_path / "fifth.toml").read_text().startswith("#:schema ./schema.json\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "NAME is ''; lower-case letters, digits and _"),
        (["--name", "Brake-Wear"], "NAME is 'Brake-Wear'; lower-case"),
        (["--name", "../brake_wear"], "NAME is '../brake_wear'; lower-case"),
        (["--name", "all"], "model_type: is 'all', which means every model"),
        (["--name", "tire_degradation"], "tire_degradation.toml is there already; choose another name, or edit it"),
        (["--name", "x", "--engine", "catboost"], "ENGINE is 'catboost'; one of xgboost, lightgbm"),
        (["--name", "x", "--target", "grip"], "TARGET names grip; the numbers of f1_strategy are "),
        (["--name", "x", "--target", "circuit_id"], "TARGET names circuit_id; the numbers of f1_strategy are "),
        (["--name", "x", "--features", "stint,grip"], "FEATURES names grip; the numbers of f1_strategy are "),
        (["--name", "x", "--features", "stint,lap_time_ms"], "FEATURES holds lap_time_ms: known only with the target"),
        (["--name", "x", "--features", "stint,stint"], "x.toml: features: names stint twice"),
        (["--name", "x", "--features", ","], "x.toml: features: is empty"),
    ],
)
def test_what_cannot_be_a_model_is_refused_and_leaves_nothing(
    folder: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(sys, "argv", ["new_model", "--folder", str(folder), *words])
    assert main() == os.EX_USAGE
    assert said in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_target_says_which_tables_are_read(tmp_path: Path) -> None:
    entry = read_entry(scaffold(tmp_path, "fuel_again", target="fuel_used_kg"))
    assert (entry.splits.train, entry.eligible, entry.unit) == ("fuel_train", "fuel_eligible", "kg")
    assert set(entry.features) <= set(strategy_suites()["fuel"].columns)
    assert read_entry(scaffold(tmp_path, "laps_again", target="lap_number")).splits.train == "train"


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["new_model", "--folder", str(tmp_path / "nowhere"), "--name", "x"])
    assert main() == os.EX_CANTCREAT
    assert "nowhere cannot be written: No such file" in capsys.readouterr().err


def test_nothing_else_lists_the_models() -> None:
    """Adding a model is adding a file: the code names none, but for the default of a command line."""
    defaults = {f"composer/local/{name}.py" for name in ("score", "request", "running")}
    places = ("plugins", "trainer", "dags", "composer", "include")
    files = [path for place in places for path in (REPOSITORY / place).rglob("*") if path.suffix in (".py", ".sql")]
    assert files
    for path in files:
        where, text = str(path.relative_to(REPOSITORY)), path.read_text()
        named = [name for name in read_catalogue().entries if re.search(rf"[\"']{name}[\"']", text)]
        assert not named or where in defaults, f"{where} names {', '.join(named)}"
