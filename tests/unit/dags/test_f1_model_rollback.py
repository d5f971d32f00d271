"""The rollback's DAG: started by hand, cheap to parse."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_vertex_ai_follows_and_the_form_explains_itself() -> None:
    dag = parsed("f1_model_rollback")
    assert dag["edges"] == {"roll_back": ["follow_on_vertex"], "follow_on_vertex": []}
    assert set(dag["form"]) == {"model_type", "version", "reason"}
    assert all(field["description"] for field in dag["form"].values())
    assert "tire_degradation" in dag["form"]["model_type"]["enum"]
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()
