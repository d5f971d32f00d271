"""The laps that `make run` trains on where nobody brings any pass every check."""

from __future__ import annotations

import argparse

import pytest

from composer.local.request import add_arguments
from f1_training.data.simulator import SeasonSet, simulate
from f1_training.data.suite import raw_suites
from f1_training.data.telemetry_simulator import simulate_telemetry
from tests.integration.data_tables.conftest import Pipeline

pytestmark = pytest.mark.timeout(400)


def default_seed() -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return int(parser.parse_args([]).seed)


def test_processed_again_the_tables_are_what_they_were(pipeline: Pipeline) -> None:
    laps = simulate(SeasonSet(seasons=3, races_per_season=2, drivers=8))
    pipeline.ingest({"laps": laps, "telemetry_laps": simulate_telemetry()})
    first, second = (pipeline.validate().statistics for _ in range(2))
    assert len(first) == len(second) == 15
    assert {name: one.checksum for name, one in first.items()} == {name: one.checksum for name, one in second.items()}


def test_simulated_laps_pass_every_check(pipeline: Pipeline) -> None:
    """Those of `make run`, among them four wet races of the 27 that are trained on."""
    seed = default_seed()
    archive = {"laps": simulate(SeasonSet(seed=seed)), "telemetry_laps": simulate_telemetry(seed)}
    found = pipeline.findings(archive)
    assert {name: result.expected for name, result in found.items() if result.failed} == {}
    for suite in raw_suites():
        assert (suite in {"laps", "telemetry_laps", "car_laps"}) == (
            pipeline.warehouse.columns(pipeline.raw(suite)) is not None
        )
