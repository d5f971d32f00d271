"""The reaper is cheap to parse and runs by itself."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_it_is_wiring_and_runs_every_hour() -> None:
    dag = parsed("f1_training_reaper")
    assert (dag["schedule"], dag["catchup"], dag["runs"]) == ("@hourly", False, 1)
    assert dag["edges"] == {"reap": []}
    assert dag["retries"]["reap"][1] == "ReasonedRetryPolicy"
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()
