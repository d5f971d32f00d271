"""The source of laps from FastF1, tested in an environment that has the library: it does not fit beside Airflow."""

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
PYTHON = REPOSITORY / "var" / "fastf1" / "venv" / "bin" / "python"
TESTS = REPOSITORY / "tests" / "unit" / "data_tables" / "fastf1"


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no environment with FastF1: make test, or make test-fastf1")
def test_the_recorded_answers_of_its_services(tmp_path: Path) -> None:
    command = [str(PYTHON), "-m", "pytest", str(TESTS), "-q", f"--basetemp={tmp_path}"]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
