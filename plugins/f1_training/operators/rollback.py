"""Versions of models by hand and by age: let an earlier one serve again, remove those that nobody needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from f1_training.core.failures import airflow_errors
from f1_training.operators.planning import deployed_settings
from f1_training.operators.register import CHAMPIONS, announce_champion
from trainer.contract import FailureReason, TrainingFailure, read_catalogue

if TYPE_CHECKING:
    from f1_training.core.settings import Settings


class RetireOperator(BaseOperator):
    """Remove old versions of every model of the catalogue, as ``models_kept`` and ``models_kept_days`` say.

    Where the settings name a region of Vertex AI a version goes there first, and stays in both when it has an alias
    there or is deployed. If Vertex AI fails, the version is whole in the registry, and goes another day.

    Returns the versions that are gone, by model.
    """

    def execute(self, context: Any) -> dict[str, list[str]]:  # noqa: ARG002 - Airflow's signature
        """One model after the other."""
        from f1_training.registry.store import Registry

        with airflow_errors():
            settings = deployed_settings()
            registry, now = Registry(settings.uris.models), datetime.now(UTC)
            days, keep, release = settings.models_kept_days, settings.models_kept, _releasing(settings)
            gone = {
                model: registry.retire(model, now, days=days, keep=keep, release=functools.partial(release, model))
                for model in read_catalogue().names
            }
        return {model: versions for model, versions in gone.items() if versions}


def _releasing(settings: Settings) -> Callable[[str, str], str]:
    """How a version of a model is taken from Vertex AI; connected when the first one is."""
    if not settings.vertex.region:
        return lambda _model_type, _version: ""
    from f1_training.vertex.client import VertexClient
    from f1_training.vertex.models import VertexModels

    connected = functools.cache(lambda: VertexModels(VertexClient.connect(settings), settings.vertex))
    return lambda model_type, version: connected().retire(model_type, version)


class RollBackOperator(BaseOperator):
    """Move the alias ``champion`` of a model back, in one step; doing it again changes nothing.

    Args:
        model_type: a model of the registry.
        version: which version is to serve; empty: the one that the champion replaced.
        reason: why, for the history.

    Returns the version that serves now, and the one that did before.
    """

    template_fields: Sequence[str] = ("model_type", "version", "reason")

    def __init__(self, *, model_type: str, version: str, reason: str, **kwargs: Any) -> None:
        super().__init__(outlets=[CHAMPIONS], **kwargs)
        self.model_type = model_type
        self.version = version
        self.reason = reason

    def execute(self, context: Any) -> dict[str, str]:
        """Move it, and tell who waits for a new champion."""
        from f1_training.registry.store import Change, Registry

        run = context["dag_run"]
        with airflow_errors():
            if not self.reason.strip():
                raise TrainingFailure(FailureReason.CONFIG_INVALID, "reason is empty; say why, for who comes after")
            change = Change(
                who=getattr(run, "triggering_user_name", None) or "somebody who is not known",
                reason=self.reason.strip(),
                at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                run_id=run.run_id,
            )
            registry = Registry(deployed_settings().uris.models)
            event = registry.roll_back(self.model_type, self.version.strip(), change)
        was = event.previous_version or "no version"
        self.log.info("%s: the champion is %s, was %s: %s", self.model_type, event.model_version, was, event.reason)
        announce_champion(context, self.model_type, event.model_version, event.reason)
        return {"version": event.model_version, "previous_version": event.previous_version}
