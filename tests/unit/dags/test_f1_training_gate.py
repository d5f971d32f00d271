"""The gate's DAG: started by hand or by a run that closed the gate, cheap to parse."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_data_is_checked_before_the_gate_opens_unless_forced() -> None:
    dag = parsed("f1_training_gate")
    edges = dag["edges"]
    assert set(edges["action"]) == {"approve", "close", "history", "open_by_force", "plan"}
    assert "plan" in edges["approve"]
    assert "model.snapshot" in edges["plan"]
    assert edges["model.snapshot"] == ["model.validate"]
    assert edges["model.validate"] == ["open"]
    assert edges["open"] == edges["close"] == edges["open_by_force"] == []
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()


def test_the_form_offers_every_action() -> None:
    form = parsed("f1_training_gate")["form"]
    assert form["action"]["enum"] == ["open", "close", "ask", "history"]
    assert form["model_type"]["enum"][0] == "all"
    assert form["force"]["default"] is False
    assert all(field["description"] for field in form.values())
