"""What the versions of a model took, read from the registry, and what its next run costs by that."""

from __future__ import annotations

import logging

from f1_training.core.plan import RunPlan
from f1_training.core.settings import Settings
from f1_training.costs.estimate import Estimate, comparable, estimate
from f1_training.costs.prices import read_prices
from f1_training.registry.card import ModelCard
from f1_training.registry.store import Registry
from trainer.contract import ContractError

log = logging.getLogger(__name__)

#: So many of a model's newest versions are looked at for what a run takes.
VERSIONS = 5


def newest_cards(settings: Settings, model_type: str) -> list[ModelCard]:
    """The cards of a model's newest versions, the newest last; one that cannot be read says nothing.

    Raises:
        TrainingFailure: what the storage refused.
    """
    registry, cards = Registry(settings.uris.models), []
    for version in registry.versions(model_type)[-VERSIONS:]:
        try:
            cards.append(registry.model(model_type, version).card)
        except ContractError as e:
            log.warning("%s %s says nothing of what it took: %s", model_type, version, e)
    return cards


def estimated(plan: RunPlan) -> Estimate:
    """What ``plan`` costs by what the newest versions of its model took.

    Raises:
        TrainingFailure: what the storage refused.
    """
    cards = newest_cards(plan.settings, plan.model_type)
    return estimate(plan, read_prices(plan.settings.costs.prices), comparable(cards, plan))
