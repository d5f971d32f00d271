"""The data's DAG: one way through, cheap to parse, never two runs at once."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_tables_are_published_only_when_they_have_passed() -> None:
    dag = parsed("f1_data")
    edges = dag["edges"]
    assert edges["ingest"] == ["ask_to_open", "process"]
    assert edges["process"] == ["publish", "validate"]
    assert edges["validate"] == ["announce", "ask_to_open", "publish"]
    assert edges["publish"] == ["announce"]
    assert edges["announce"] == edges["ask_to_open"] == []
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()


def test_it_runs_after_the_weekend_one_at_a_time_and_never_for_the_past() -> None:
    dag = parsed("f1_data")
    assert (dag["schedule"], dag["catchup"], dag["start"], dag["runs"]) == ("0 6 * * 1", False, "None", 1)


def test_the_form_explains_itself() -> None:
    form = parsed("f1_data")["form"]
    assert {name: field["default"] for name, field in form.items()} == {
        "source": "",
        "replace": False,
        "announce": True,
    }
    assert all(field["description"] for field in form.values())
