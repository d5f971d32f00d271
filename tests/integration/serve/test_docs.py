"""What docs/serving.md shows works as it is written there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from composer.local.places import REPOSITORY
from tests.fakes.prediction_server import Server, serving
from tests.fakes.served_models import FEATURES, version_folder
from trainer.contract import Engine, Objective
from trainer.serve.__main__ import read_settings
from trainer.serve.openapi import REFUSALS

TEXT = (REPOSITORY / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT.partition("## On GKE")[0], re.MULTILINE | re.DOTALL)
SHOWN = "http://127.0.0.1:8080"


def blocks(start: str, language: str = "") -> list[str]:
    return [text for kind, text in BLOCKS if kind == language and text.startswith(start)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    uri = version_folder(tmp_path_factory.mktemp("docs") / "v", Engine.LIGHTGBM, Objective.SQUARED_ERROR)
    with serving(uri) as found:
        yield found


def test_every_block_is_of_a_kind_that_is_run() -> None:
    run = blocks("AIP_STORAGE_URI") + blocks("curl") + blocks("import", "python")
    assert len(run) == len(BLOCKS) == 4


def test_the_program_starts_with_what_is_shown() -> None:
    (command,) = blocks("AIP_STORAGE_URI")
    words = shlex.split(command)
    found = read_settings(dict(word.split("=", 1) for word in words if "=" in word))
    assert (found.storage_uri, found.port) == ("file:///srv/models/tire_degradation", 8080)
    assert words[-3:] == ["python", "-m", "trainer.serve"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_commands_work(server: Server) -> None:
    health, refused = (
        json.loads(
            subprocess.run(
                shlex.split(command.replace(SHOWN, server.url)), capture_output=True, check=True, timeout=30
            ).stdout
        )
        for command in blocks("curl")
    )
    assert health["status"] == "ok"
    assert f"row 0: '{FEATURES[0]}' is 'old', not a number" in refused["error"]
    assert refused["problems"][0].keys() == {"message", "row", "field"}


def test_the_program_asks_for_a_row_and_for_many(server: Server, tmp_path: Path) -> None:
    (program,) = blocks("import", "python")
    done = subprocess.run(
        [sys.executable, "-c", program.replace(SHOWN, server.url)], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    single, batch = json.loads("[" + done.stdout.replace(" [", ", [", 1) + "]")
    assert single == batch[0]
    assert len(batch) == 3
    assert batch[0] != batch[2]


def test_every_refusal_is_listed() -> None:
    assert set(re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE)) == set(REFUSALS)
