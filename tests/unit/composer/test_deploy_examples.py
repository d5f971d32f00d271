"""The pipelines' examples and ``make deploy`` say what ``composer.deploy`` takes."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from composer.deploy.__main__ import arguments

REPOSITORY = Path(__file__).parents[3]
FOLDER = REPOSITORY / "composer" / "deploy"


def made(*variables: str) -> Any:
    """What ``make deploy`` with ``variables`` would give the program."""
    command = ["make", "--no-print-directory", "-n", "deploy", *variables]
    # Not the variables of a `make test ARGS=...` that started this test.
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    line = next(part for part in done.stdout.replace("\\\n", " ").splitlines() if "composer.deploy" in part)
    return arguments().parse_args(shlex.split(line.partition("composer.deploy")[2]))


def scripts(value: Any) -> list[str]:
    """Every text of a pipeline in which something is made."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in scripts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in scripts(inner)]
    return [value] if isinstance(value, str) and "make deploy" in value else []


def test_without_anything_it_is_a_dry_run() -> None:
    found = made()
    assert (found.project, found.environment, found.apply, found.rollback) == ("", "", False, False)


def test_variables_become_options() -> None:
    found = made("PROJECT=p", "ENVIRONMENT=e", "REGION=us-central1", "APPLY=1", "ARGS=--gpu --settings s.json")
    assert (found.project, found.environment, found.region) == ("p", "e", "us-central1")
    assert (found.apply, found.rollback, found.gpu, found.settings) == (True, False, True, Path("s.json"))
    assert made("ROLLBACK=1").rollback is True


@pytest.mark.parametrize("name", ["cloudbuild.yaml", "github-actions.yaml"])
def test_a_pipeline_shows_the_plan_and_then_applies_it(name: str) -> None:
    found = scripts(yaml.safe_load((FOLDER / name).read_text()))
    commands = [line.strip() for text in found for line in text.splitlines() if "make deploy" in line]
    assert len(commands) == 2
    parsed = [made(*re.findall(r"([A-Z]+=\S+)", re.sub(r'["${}]', "", command))) for command in commands]
    assert [p.apply for p in parsed] == [False, True]
    for p in parsed:
        assert "PROJECT" in p.project
        assert "ENVIRONMENT" in p.environment


def test_every_command_in_the_documentation_is_one() -> None:
    lines = re.findall(r"^make deploy.*$", (REPOSITORY / "docs" / "deploy.md").read_text(), re.MULTILINE)
    parsed = [made(*shlex.split(line.partition("#")[0])[2:]) for line in lines]
    assert len(parsed) == 6
    assert [p.apply for p in parsed].count(True) == 2
    assert [p.rollback for p in parsed].count(True) == 1
    assert {str(p.settings) for p in parsed} == {"None", "settings.json"}
    assert parsed[-1].packages == Path("packages.txt")
