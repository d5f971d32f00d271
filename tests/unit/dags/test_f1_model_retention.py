"""The retention's DAG: daily, one task, cheap to parse."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_it_runs_daily_one_at_a_time_and_never_for_the_past() -> None:
    dag = parsed("f1_model_retention")
    assert dag["edges"] == {"retire": []}
    assert (dag["schedule"], dag["catchup"], dag["start"], dag["runs"]) == ("@daily", False, "None", 1)
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()
