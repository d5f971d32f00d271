"""A version's report: everything that a strategist asks for is on it, and nothing comes from elsewhere."""

import re
from dataclasses import replace

import pytest

from f1_training.core import plots
from f1_training.core.plots import Line, Scale
from f1_training.registry.card import ModelCard
from f1_training.registry.promotion import Decision
from f1_training.registry.report import beside, page, tiles
from f1_training.registry.report_figures import by_circuit, figures
from tests.fakes.run_plan import compared, make_plan
from tests.unit.registry.test_store import make_card
from trainer.contract import Calibration, Curve, Details, Grid, GroupScore, Interval, LinearBaseline, Objective

CURVE = Curve(
    name="SOFT", rows=900, at=(1.0, 18.0, 35.0), mean=(0.0, 400.0, 900.0), low=(0.0, 350.0, 800.0),
    high=(0.0, 450.0, 1000.0), slope=26.5, slope_interval=Interval(low=23.5, high=29.4), feature="tire_age_laps",
    unit="laps", rises=True,
)  # fmt: skip
DETAILS = Details(
    effects={"tire_age_laps": 210.0, "stint": 35.5},
    effect_rows=2000,
    curves=(
        CURVE,
        replace(CURVE, name="HARD <script>"),
        replace(
            CURVE,
            name="all",
            feature="fuel_fraction",
            unit="share of fuel left",
            slope=-3.0,
            slope_interval=Interval(low=-4, high=-2),
        ),
    ),
    calibration=Calibration(rows=(9, 8), predicted=(-300.0, 400.0), actual=(-280.0, 350.0), slope=0.9),
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
        metrics={**made.evaluation.metrics, "r2": 0.45, "linear_mae": 588.0},
        linear=LinearBaseline(
            metric="test_mae",
            own=557.0,
            linear=588.0,
            difference=-31.0,
            interval=Interval(low=-44, high=-8),
            rows=50_000,
        ),
        breakdowns={
            "compound": (
                GroupScore(group="HARD", rows=300, value=551.0),
                GroupScore(group="SOFT", rows=100, value=631.0),
            ),
            "stint length": (
                GroupScore(group="1-5", rows=150, value=659.0),
                GroupScore(group="6+", rows=250, value=545.0),
            ),
        },
    )
    return replace(made, evaluation=evaluation)


def classifier_card() -> ModelCard:
    made = make_card(make_plan())
    details = Details(
        effects={"tire_age_laps": 0.7},
        effect_rows=300,
        calibration=Calibration(rows=(150, 250), predicted=(0.45, 0.85), actual=(0.4, 0.9)),
        confusion=((120, 20, 0), (30, 90, 10), (0, 25, 105)),
    )
    metrics = {
        "accuracy": 0.7875,
        "baseline_accuracy": 0.35,
        "log_loss": 0.6,
        "macro_f1": 0.78,
        "linear_macro_f1": 0.61,
        "baseline_macro_f1": 0.17,
    }
    evaluation = replace(
        made.evaluation,
        metrics=metrics,
        details=details,
        by_group=tuple(replace(race, value=race.value / 1000) for race in RACES),
        unit="",
        intervals={"macro_f1": Interval(low=0.7, high=0.8)},
    )
    return replace(
        made,
        objective=Objective.MULTICLASS,
        unit="",
        target="style",
        evaluation=evaluation,
        class_names=("smooth", "aggressive <b>", "defensive"),
        simulated_target="what the simulator's drivers do",
    )


def test_it_says_what_a_strategist_asks_for() -> None:
    html = page(card(), Decision(promote=True, reason="it beats the champion"))
    assert "Good enough to be champion: it beats the champion." in html
    for heading in (
        "lap_delta_ms over tire_age_laps, other things equal", "lap_delta_ms over fuel_fraction, other things equal",
        "Learning curves", "Predicted against actual", "By circuit", "By stint length",
    ):  # fmt: skip
        assert f"<figcaption>{heading}</figcaption>" in html
    assert "+26.5" in html
    assert "+23.5 to +29.4" in html
    assert "540.1 to 571.9" in html
    assert "beats the champion 20260101-000000-aaaaaa" in html
    assert "started at round 0 with 2 workers" in html
    assert "2026-11-23T22:16:00Z" in html
    assert "must rise, and falls" in html
    assert "n1-standard-8 (6 CPUs, 24Gi)" in html
    assert "Simulated target" not in html
    assert card().sha256 in html


def test_nothing_comes_from_elsewhere_and_names_cannot_break_it() -> None:
    html = page(card(), Decision(promote=False, reason="<b>worse</b>"))
    assert "<script" not in html
    assert "HARD &lt;script&gt;" in html
    assert "&lt;b&gt;worse" in html
    assert not re.findall(r"(?:src|href|url)\s*[=(]", html)


def test_every_plot_has_axes_with_units() -> None:
    drawn = figures(card())
    assert {name for name, svg in drawn.items() if svg} == {
        "lap_delta_ms over tire_age_laps, other things equal", "lap_delta_ms over fuel_fraction, other things equal",
        "Beside its baselines", "Learning curves", "Predicted against actual", "Calibration", "By circuit",
        "By compound", "By stint length", "By race", "What moves a prediction",
    }  # fmt: skip
    for svg in (svg for svg in drawn.values() if svg):
        assert 'class="axis"' in svg
        below, beside_it = re.findall(r'<text class="label"[^>]*>([^<]+)</text>', svg)
        assert re.search(r"\((ms|laps|share of fuel left|number)\)", below)
        assert beside_it


def test_a_classifier_s_page_has_its_classes_by_name() -> None:
    drawn = {name for name, svg in figures(classifier_card()).items() if svg}
    assert drawn >= {"Which class is taken for which", "Calibration", "Beside its baselines"}
    assert "Predicted against actual" not in drawn
    html = page(classifier_card(), Decision(promote=True, reason="first"))
    assert "Simulated target: what the simulator&#39;s drivers do" in html
    assert "aggressive &lt;b&gt; taken for smooth: 30 of 130 rows" in html
    assert "class 2" in page(replace(classifier_card(), class_names=()), Decision(promote=True, reason="first"))


def test_it_is_beside_champion_linear_and_naive_model_on_the_same_rows() -> None:
    assert beside(card()) == [
        ("champion 20260101-000000-aaaaaa", "test_mae", "557 ms", "562.5 ms", "-5.5 ms", "95%: -9 to -2 ms"),
        ("linear model of 50,000 rows", "test_mae", "557 ms", "588 ms", "-31 ms", "95%: -44 to -8 ms"),
        ("naive baseline", "test_mae", "557 ms", "807 ms", "-250 ms", ""),
    ]
    assert [row[:2] for row in beside(classifier_card())] == [
        ("naive baseline", "accuracy"),
        ("naive baseline", "macro_f1"),
    ]


def test_metrics_are_shown_with_their_own_intervals() -> None:
    found = {name: between for name, _, between in tiles(card())}
    assert found["test_mae_ms"] == Interval(low=540.1, high=571.9)
    assert (found["r2"], found["linear_mae_ms"], "test" in found) == (None, None, False)


def test_a_circuit_s_error_is_that_of_all_its_laps() -> None:
    assert by_circuit(card()) == {"australia": pytest.approx(700.0), "china": pytest.approx(400.0)}
    assert next(iter(by_circuit(card()))) == "australia"
    other = replace(card(), evaluation=replace(card().evaluation, by_group=(replace(RACES[0], group="x", rows=400),)))
    assert by_circuit(other) == {}
    assert {"By group"} == {name for name in figures(other) if name in ("By group", "By race")}


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
    assert plots.bars({}, x="x", y="y", title="t") == ""
    assert plots.cells([[0]], [0, 1], x="x", y="y", title="t") == ""
    assert plots.matrix([[0]], ["a"], x="x", y="y", title="t") == ""
    assert "polyline" in plots.lines([Line(name="flat", x=(1, 2), y=(3, 3))], x="x", y="y", title="t")
