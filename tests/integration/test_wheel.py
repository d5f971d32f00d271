"""The wheel that Composer and the training image install holds everything that it needs, and nothing of the stand-ins."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from composer.local.places import REPOSITORY


@pytest.mark.timeout(400)
def test_the_wheel_is_complete(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("var", ".venv", ".git", "tests", "*.egg-info", "build", "__pycache__")
    shutil.copytree(REPOSITORY, source, symlinks=True, ignore=ignored)
    program = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True, timeout=100)
    wheel = next(tmp_path.glob("*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in (("trainer", "trainer"), ("plugins/f1_training", "f1_training")):
        root = REPOSITORY / folder
        wanted = {f"{package}/{p.relative_to(root)}" for p in root.rglob("*.py") if "__pycache__" not in p.parts}
        assert wanted <= names
    sql = {
        f"f1_training/sql/{p.relative_to(REPOSITORY / 'include/sql')}"
        for p in (REPOSITORY / "include/sql").rglob("*.sql")
    }
    assert sql
    assert sql <= names
    assert "trainer/contract/models/tire_degradation.toml" in names
    assert not [n for n in names if n.startswith(("composer", "tests", "dags"))]
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    check = "import f1_training, trainer.contract as c; from f1_training.bigquery import sql; sql.load('snapshot/counts.sql'); print(list(c.read_catalogue().entries))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert "tire_degradation" in done.stdout, done.stderr
