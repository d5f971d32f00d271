"""The setting ``costs``: the documented example is read, and what is wrong is named."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from f1_training.core.costs import Budget, CostSettings
from tests.fakes.run_plan import settings
from trainer.contract import TrainingFailure

DOCS = Path(__file__).parents[3] / "docs" / "costs.md"


def test_the_documented_example_is_read() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    found = settings(costs=json.loads(text)).costs
    assert (found.budget_usd, found.hard_limit_usd, found.prices["n1-standard-8"].spot) == (200.0, 300.0, 0.088)


def test_the_defaults_are_the_specification_s_budget() -> None:
    found = CostSettings()
    assert (found.budget_usd, found.warn_share, found.hard_limit_usd) == (200.0, 0.8, None)
    assert set(found.monthly_usd) == set(Budget)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"billing_table": "gcp_billing_export_v1"},
            "costs.billing_table: is 'gcp_billing_export_v1'; the export in full",
        ),
        ({"monthly_usd": {"weekly": 1}}, "costs.monthly_usd: names weekly; the lines are weekly-retraining, ad-hoc"),
        ({"monthly_usd": {"ad-hoc": -1}}, "costs.monthly_usd.ad-hoc: is -1"),
        ({"warn_share": 80}, "costs.warn_share: is 80"),
        ({"hard_limit_usd": 0}, "costs.hard_limit_usd: is 0"),
        ({"prices": {"n1-standard-8": {"on_demand": 1}}}, "costs.prices.n1-standard-8.spot: is missing"),
        ({"prices": {"n1-standard-8": {"on_demand": 1, "spot": -1}}}, "costs.prices.n1-standard-8.spot: is -1"),
        ({"node_overhead_s": -1}, "costs.node_overhead_s"),
        ({"months_shown": 0}, "costs.months_shown"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainingFailure, match=re.escape(words)):
        settings(costs=change)
