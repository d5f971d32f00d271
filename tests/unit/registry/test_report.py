"""A version's report: everything that a strategist asks for is on it, and nothing comes from elsewhere."""

import re
from dataclasses import replace

import pytest

from f1_training.core import plots
from f1_training.core.plots import Line, Scale
from f1_training.registry.card import ModelCard
from f1_training.registry.promotion import Decision
from f1_training.registry.report import by_circuit, figures, page
from tests.fakes.run_plan import compared, make_plan
from tests.unit.registry.test_store import make_card
from trainer.contract import Curve, Details, Grid, GroupScore, Interval

CURVE = Curve(
    name="SOFT", rows=900, at=(1.0, 18.0, 35.0), mean=(0.0, 400.0, 900.0), low=(0.0, 350.0, 800.0),
    high=(0.0, 450.0, 1000.0), slope=26.5, slope_interval=Interval(low=23.5, high=29.4),
)  # fmt: skip
DETAILS = Details(
    effects={"tire_age_laps": 210.0, "stint": 35.5},
    effect_rows=2000,
    curves=(CURVE, replace(CURVE, name="HARD <script>")),
    curve_feature="tire_age_laps",
    curve_unit="laps",
    curve_rises=True,
    grid=Grid(edges=(-1000.0, 0.0, 1000.0), counts=((5, 1), (2, 9))),
)
RACES = (
    GroupScore(group="2025_R01_australia", rows=100, value=500.0),
    GroupScore(group="2025_R02_china", rows=100, value=400.0),
    GroupScore(group="2026_R01_australia", rows=200, value=800.0),
)


def card() -> ModelCard:
    made = make_card(make_plan())
    evaluation = replace(
        made.evaluation,
        details=DETAILS,
        by_group=RACES,
        intervals={"test_mae": Interval(low=540.1, high=571.9)},
        comparison=compared("20260101-000000-aaaaaa", -9.0, -2.0),
    )
    return replace(made, evaluation=evaluation)


def test_it_says_what_a_strategist_asks_for() -> None:
    html = page(card(), Decision(promote=True, reason="it beats the champion"))
    assert "Good enough to be champion: it beats the champion." in html
    for heading in ("What a set costs as it gets older", "Learning curves", "Predicted against actual", "By circuit"):
        assert f"<figcaption>{heading}</figcaption>" in html
    assert "+26.5" in html
    assert "+23.5 to +29.4" in html
    assert "540.1 to 571.9" in html
    assert "beats the champion 20260101-000000-aaaaaa" in html
    assert "started at round 0 with 2 workers" in html
    assert card().sha256 in html


def test_nothing_comes_from_elsewhere_and_names_cannot_break_it() -> None:
    html = page(card(), Decision(promote=False, reason="<b>worse</b>"))
    assert "<script" not in html
    assert "HARD &lt;script&gt;" in html
    assert "&lt;b&gt;worse" in html
    assert not re.findall(r"(?:src|href|url)\s*[=(]", html)


def test_every_plot_has_axes_with_units() -> None:
    drawn = figures(card())
    assert set(drawn) == {
        "What a set costs as it gets older", "Learning curves", "Predicted against actual", "By circuit", "By race",
        "What moves a prediction",
    }  # fmt: skip
    for svg in drawn.values():
        assert 'class="axis"' in svg
        assert "ms)" in svg or "boosting rounds" in svg


def test_a_circuit_s_error_is_that_of_all_its_laps() -> None:
    assert by_circuit(card()) == {"australia": pytest.approx(700.0), "china": pytest.approx(400.0)}
    assert next(iter(by_circuit(card()))) == "australia"
    other = replace(card(), evaluation=replace(card().evaluation, by_group=(replace(RACES[0], group="x", rows=400),)))
    assert by_circuit(other) == {}


def test_a_version_without_details_has_a_page_too() -> None:
    plain = make_card(make_plan())
    html = page(plain, Decision(promote=True, reason="first"))
    assert "Learning curves" in html
    assert "What moves a prediction" not in html


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.9), (0, 800), (55_000, 130_000), (0.001, 0.002)])
def test_ticks_are_round_and_within(low: float, high: float) -> None:
    ticks = Scale(low=low, high=high, start=0, end=100).ticks
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_plots_of_nothing_are_empty_and_flat_lines_are_drawn() -> None:
    assert plots.lines([], x="x", y="y", title="t") == ""
    assert plots.bars({}, x="x", title="t") == ""
    assert plots.cells([[0]], [0, 1], x="x", y="y", title="t") == ""
    assert "polyline" in plots.lines([Line(name="flat", x=(1, 2), y=(3, 3))], x="x", y="y", title="t")
