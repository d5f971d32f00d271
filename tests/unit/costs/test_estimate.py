"""What a run is taken to cost at most: measured seconds, machines and prices, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from f1_training.core.costs import HourlyPrice
from f1_training.core.plan import RunPlan
from f1_training.core.specs import training_spec
from f1_training.costs.estimate import Measured, comparable, cost_of_run, estimate, measured
from f1_training.costs.prices import read_prices
from f1_training.registry.card import Inputs, ModelCard, model_card
from tests.fakes.run_plan import (
    evaluation_result,
    held_out_snapshot,
    make_plan,
    settings,
    training_result,
    training_snapshot,
)
from trainer.contract import GroupChange, LineageEvent, read_catalogue
from trainer.contract.catalogue import CostEntry
from trainer.contract.resources import LADDER, Tier
from trainer.contract.spec import DEFAULT_WORKERS

PRICES = read_prices()
#: 0.1 s a round and 180 s around them.
KNOWN = Measured(version="v1", workers=2, round_s=0.1, other_s=180.0, bytes_scanned=2**40)


def plan(costs: dict[str, Any] | None = None, rounds: int = 3600, **params: Any) -> RunPlan:
    deployed = settings(costs={"node_overhead_s": 540.0, **(costs or {})}, **params.pop("deployed", {}))
    made = make_plan(deployed, rounds=rounds, **params)
    # A chief that takes a third of an n1-standard-4.
    return replace(made, entry=replace(made.entry, chief_resources=replace(made.entry.chief_resources, cpu="1")))


def card(version: str, workers: int = 2, **result: Any) -> ModelCard:
    made = replace(make_plan(num_workers=workers), model_version=version)
    inputs = Inputs(spec=training_spec(made, training_snapshot(made), 1), test_snapshot=held_out_snapshot(made))
    values = {"seconds": {"training": 75.0, "commit": 5.0, "total": 100.0}, **result}
    trained = training_result(made, **values)
    return model_card(made, inputs, trained, evaluation_result(made, trained))


def test_it_is_hours_times_nodes_times_prices_and_the_queries() -> None:
    # 180 + 0.1 * 3600 + 540 s are 0.3 h, the evaluator's node 540 s, a terabyte of queries 6.25.
    found = estimate(plan(), PRICES, KNOWN)
    machine, chief = 0.379998, 0.189999
    assert found.usd == pytest.approx(0.3 * (2 * machine + chief / 3) + 0.15 * machine + 6.25)
    assert "2 n1-standard-8 on demand and 0.333 n1-standard-4 of the chief for 0.30 h" in found.basis
    assert "3600 rounds at 0.1 s as version v1 took with 2 workers, list prices of us-central1" in found.basis


@pytest.mark.parametrize(
    ("workers", "spot", "nodes", "hours"),
    [
        (2, "never", 2 * 0.379998, 0.3),
        (4, "never", 4 * 0.379998, 0.3),  # more workers are not taken to be faster
        (2, "required", 2 * 0.10402, 0.3),
        (2, "preferred", 2 * 0.379998, 0.3),  # it may be on demand in the end
    ],
)
def test_workers_and_spot(workers: int, spot: str, nodes: float, hours: float) -> None:
    wanted = plan(num_workers=workers, deployed={"worker_spot": spot})
    found = estimate(wanted, PRICES, replace(KNOWN, bytes_scanned=0)).usd
    assert found == pytest.approx(hours * (nodes + 0.189999 / 3) + 0.15 * 0.379998)


def test_one_worker_needs_no_chief_is_never_on_spot_and_takes_as_long_as_all_did() -> None:
    found = estimate(plan(num_workers=1, deployed={"worker_spot": "required"}), PRICES, replace(KNOWN, bytes_scanned=0))
    # 180 + 0.2 * 3600 + 540 s are 0.4 h.
    assert found.usd == pytest.approx(0.4 * 0.379998 + 0.15 * 0.379998)


def test_a_gpu_is_paid_beside_its_machine() -> None:
    wanted = plan(device="gpu", deployed={"gpu_accelerator": "nvidia-tesla-t4"})
    found = estimate(wanted, PRICES, replace(KNOWN, bytes_scanned=0)).usd
    assert found == pytest.approx(0.3 * (2 * (0.379998 + 0.35) + 0.189999 / 3) + 0.15 * 0.379998)


def test_small_workers_share_a_node() -> None:
    made = plan(num_workers=4)
    small = replace(made.entry.resources, cpu="3", memory="10Gi")
    found = estimate(replace(made, entry=replace(made.entry, resources=small)), PRICES, KNOWN)
    assert found.basis.startswith("2 n1-standard-8")


def test_own_prices_replace_the_list_s_and_are_named() -> None:
    own = {"n1-standard-8": HourlyPrice(on_demand=1.0, spot=0.2)}
    found = estimate(plan(), read_prices(own), replace(KNOWN, bytes_scanned=0))
    assert found.usd == pytest.approx(0.3 * (2 + 0.189999 / 3) + 0.15)
    assert found.basis.endswith("own prices of n1-standard-8")


def test_what_has_no_price_is_named_with_the_setting() -> None:
    found = estimate(plan(device="gpu", deployed={"gpu_accelerator": "nvidia-l4"}), PRICES, KNOWN)
    assert (found.usd, found.basis) == (None, "no price of nvidia-l4; give it in the setting costs.prices")


def test_every_machine_of_the_ladder_has_a_price() -> None:
    assert set(PRICES.machines) == {rung.machine_type for rung in LADDER} == {tier.machine_type for tier in Tier}
    for price in PRICES.machines.values():
        assert 0 < price.spot < price.on_demand


def test_without_a_measurement_the_catalogue_is_believed_and_without_that_nothing_is_said() -> None:
    made = plan()
    unpriced = replace(made, entry=replace(made.entry, cost=None))
    assert estimate(unpriced, PRICES, None).told().startswith("cost unknown: no version of it was measured")
    entry = replace(made.entry, cost=CostEntry(usd_per_run=0.4, basis="2 nodes for 20 minutes"))
    assert estimate(replace(made, entry=entry), PRICES, None).told() == "about 0.40 USD (2 nodes for 20 minutes)"


@pytest.mark.parametrize("model_type", read_catalogue().names)
def test_a_model_s_first_run_has_an_estimate_that_covers_the_nodes_that_it_starts(model_type: str) -> None:
    made = make_plan(model_type=model_type, num_workers=DEFAULT_WORKERS)
    declared = made.entry.cost
    assert declared is not None
    nothing = Measured(version="", workers=made.num_workers, round_s=0.0, other_s=0.0, bytes_scanned=0)
    least = estimate(made, PRICES, nothing)
    assert least.usd is not None
    # Nodes that start and stop are most of it: these models train in minutes. Twice that would be another model.
    assert least.usd <= declared.usd_per_run <= 2 * least.usd
    machines = least.basis.partition(" for ")[0]
    assert machines in declared.basis, "the machines have changed: measure again (docs/models.md)"


def test_a_card_says_what_its_run_took() -> None:
    assert measured(card("v1")) == Measured(version="v1", workers=2, round_s=0.1, other_s=25.0, bytes_scanned=0)


def test_a_chief_that_went_on_knows_only_its_own_rounds() -> None:
    made = make_plan()
    first = training_result(made).lineage[0]
    resumed = LineageEvent(change=GroupChange.RESUMED, round=600, epoch=2, at=first.at, group=first.group)
    found = measured(card("v1", lineage=(first, resumed)))
    assert found is not None
    assert found.round_s == pytest.approx(75.0 / 150)


def test_a_run_that_is_over_has_cost_its_own_seconds() -> None:
    # 540 + 540 s are 0.3 h; the evaluator's node 540 s; a terabyte of queries 6.25.
    made = plan()
    found = cost_of_run(made, PRICES, training_result(made, seconds={"total": 540.0}), 2**40)
    assert found is not None
    assert found.estimated_usd == pytest.approx(0.3 * (2 * 0.379998 + 0.189999 / 3) + 0.15 * 0.379998 + 6.25, abs=1e-4)
    assert (found.hours, found.machines) == (
        0.3,
        "2 n1-standard-8 on demand and 0.333 n1-standard-4 of the chief",
    )
    assert found.told() == (
        "about 6.55 USD: 2 n1-standard-8 on demand and 0.333 n1-standard-4 of the chief for 0.30 h, estimated with "
        f"{PRICES.told()}"
    )


def test_time_that_is_not_known_is_said_and_without_time_or_price_there_is_no_cost() -> None:
    made = plan()
    first = training_result(made).lineage[0]
    resumed = LineageEvent(change=GroupChange.RESUMED, round=600, epoch=2, at=first.at, group=first.group)
    found = cost_of_run(made, PRICES, training_result(made, lineage=(first, resumed)), 0)
    assert found is not None
    assert found.basis.endswith("without what chiefs before the last one took")
    assert cost_of_run(made, PRICES, training_result(made, seconds={}), 0) is None
    unpriced = plan(device="gpu", deployed={"gpu_accelerator": "nvidia-l4"})
    assert cost_of_run(unpriced, PRICES, training_result(unpriced), 0) is None


@pytest.mark.parametrize("seconds", [{}, {"total": 42.0}, {"training": 42.0}])
def test_a_card_that_does_not_say_is_passed_over(seconds: dict[str, float]) -> None:
    assert measured(card("v1", seconds=seconds)) is None


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ([("v1", 2), ("v2", 3)], "v1"),  # as many workers come first
        ([("v1", 2), ("v2", 2)], "v2"),  # then the newest
        ([("v1", 3), ("v2", 4)], "v2"),
        ([], None),
    ],
)
def test_the_most_alike_version_is_taken(versions: list[tuple[str, int]], chosen: str | None) -> None:
    found = comparable([card(version, workers) for version, workers in versions], plan())
    assert (found.version if found else None) == chosen


def test_another_engine_says_nothing() -> None:
    assert comparable([card("v1", engine="lightgbm")], plan()) is None
