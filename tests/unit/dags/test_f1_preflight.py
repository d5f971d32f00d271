"""The preflight: wiring, started by hand, never tried again."""

from tests.unit.dags.parsing import HEAVY, parsed


def test_it_is_wiring_and_is_started_by_hand() -> None:
    dag = parsed("f1_preflight")
    assert (dag["schedule"], dag["catchup"], dag["runs"]) == ("NullTimetable", False, 1) or dag["schedule"] == "None"
    probes = ["chief_nodes", "worker_nodes"]
    # Whatever takes the plan follows it.
    assert dag["edges"] == {
        "plan": ["checks", "chief_nodes", "report", "worker_nodes"],
        "checks": probes,
        "chief_nodes": ["dry_run"],
        "worker_nodes": ["dry_run"],
        "dry_run": ["report"],
        "report": [],
    }
    assert {retries for retries, _ in dag["retries"].values()} == {0}
    assert {dag["pools"][task] for task in probes} == {"f1_training"}
    added = {name.partition(".")[0] for name in set(dag["modules"][1]) - set(dag["modules"][0])}
    assert added & set(HEAVY) == set()


def test_the_form_says_what_every_field_takes() -> None:
    form = parsed("f1_preflight")["form"]
    assert set(form) == {"model_type", "engine", "device"}
    assert all(field["description"] for field in form.values())
    assert form["model_type"]["default"] in form["model_type"]["enum"]
