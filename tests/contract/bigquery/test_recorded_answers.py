"""The stand-in gives the answers that real BigQuery gave, or refuses: it is never silently wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import bigquery

from composer.local.bigquery.testing import running_bigquery
from composer.local.laps import emulator_client
from tests.contract.bigquery.recorded import Refused, agrees, answer, each, read

HERE = Path(__file__).parent
COMMITTED = read(HERE / "recorded_answers.jsonl")
ALL = Path(os.environ.get("F1_BIGQUERY_VECTORS") or HERE.parents[3] / "shared" / "data" / "bigquery_vectors.jsonl")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bigquery.Client]:
    with running_bigquery(tmp_path_factory.mktemp("bigquery")) as endpoints:
        yield emulator_client(endpoints.rest)


@pytest.mark.parametrize("vector", COMMITTED, ids=lambda v: v["name"].rpartition("/")[2])
def test_committed_answer(client: bigquery.Client, vector: dict) -> None:  # type: ignore[type-arg]
    if vector["served"]:
        rows = answer(client, vector)
        assert agrees(vector, rows), f"got {rows}, BigQuery gave {vector['expected']['rows']}"
    else:
        with pytest.raises(Refused):
            answer(client, vector)


@pytest.mark.slow
@pytest.mark.skipif(not ALL.exists(), reason=f"{ALL} is not there; F1_BIGQUERY_VECTORS names another file")
def test_no_recorded_answer_is_contradicted(client: bigquery.Client) -> None:
    outcome: dict[str, list[str]] = {"agrees": [], "refused": [], "wrong": []}
    for vector, verdict, _ in each(client, read(ALL)):
        outcome[verdict].append(vector["name"])
    assert outcome["wrong"] == []
    assert len(outcome["agrees"]) >= 180
