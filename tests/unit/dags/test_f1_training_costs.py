"""The cost report's DAG is cheap to parse and runs by itself."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_it_is_wiring_and_runs_every_morning() -> None:
    dag = parsed("f1_training_costs")
    assert (dag["schedule"], dag["catchup"], dag["runs"]) == ("0 7 * * *", False, 1)
    assert dag["edges"] == {"report": []}
    assert dag["retries"]["report"][1] == "ReasonedRetryPolicy"
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()
