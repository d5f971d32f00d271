"""``make costs``: what a weekly run costs, by versions where there are some, else by the catalogue."""

from dataclasses import replace
from pathlib import Path

from composer.costs import deployment, rows
from f1_training.registry.store import Registry
from tests.fakes.run_plan import BOOSTER, make_plan
from tests.unit.registry.test_store import make_card
from trainer.contract import read_catalogue


def test_a_version_s_seconds_come_before_the_catalogue_s_word(tmp_path: Path) -> None:
    settings = deployment(f"file://{tmp_path}")
    before = {row[0]: row for row in rows(settings)}
    assert set(before) == set(read_catalogue().names)
    entry = read_catalogue().entry("tire_degradation")
    assert entry.cost is not None
    assert before["tire_degradation"][2:] == (f"{entry.cost.usd_per_run:.2f}", entry.cost.basis)

    card = make_card(make_plan(), "20260101-000000-aaaaaa")
    # 10 s a round: eight thousand seconds.
    result = replace(card.result, seconds={"training": 7500.0, "total": 7600.0})
    Registry(settings.uris.models).register(replace(card, result=result), BOOSTER)
    _, workers, usd, why = {row[0]: row for row in rows(settings)}["tire_degradation"]
    assert (workers, "800 rounds at 10 s as version 20260101-000000-aaaaaa took with 2 workers" in why) == ("4", True)
    assert float(usd) > 4 * float(before["tire_degradation"][2])
