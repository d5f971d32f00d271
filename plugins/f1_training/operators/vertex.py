"""Vertex AI after the registry: upload a version, deploy a champion, follow a rollback. Off unless settings say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from f1_training.core.settings import VARIABLE, Settings
from f1_training.operators.planning import deployed_settings

if TYPE_CHECKING:
    from f1_training.vertex.client import VertexClient
    from f1_training.vertex.endpoints import Deployment
    from f1_training.vertex.resources import ModelVersion

#: A rollback is meant: the version that serves again gets every request.
ALL_TRAFFIC = 100


class UploadToVertexOperator(BaseOperator):
    """Upload the registered version to Vertex AI's Model Registry, where the alias ``champion`` follows the registry's.

    A version that is there already, by its label, is adopted. Skipped where the settings name no region of Vertex AI.
    The registration is done before, and not lost when this fails.

    Args:
        plan: the run's plan, from task ``plan``.
        registered: what :class:`RegisterModelOperator` returned.

    Returns the version's and the champion's resource names; the champion's is "" where nothing was promoted yet.
    """

    template_fields: Sequence[str] = ("plan", "registered")
    ui_color = "#f8d7da"

    def __init__(self, *, plan: Any, registered: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.registered = registered

    def execute(self, context: Any) -> dict[str, str]:  # noqa: ARG002 - Airflow's signature
        """Look, upload, move the alias. Doing it again changes nothing."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            client = _connected(plan.settings)

            from f1_training.registry.store import Registry
            from f1_training.vertex.models import VertexModels, follow_champion, version_spec

            models, registry = VertexModels(client, plan.settings.vertex), Registry(plan.settings.uris.models)
            registered = registry.model(plan.model_type, self.registered["version"])
            version = models.ensure(version_spec(registered))
            champion = follow_champion(models, registry, plan.model_type)
        return {"version": version.name, "champion": champion.name if champion else ""}


class DeployToVertexOperator(BaseOperator):
    """Deploy the version to the model's endpoint of Vertex AI, if it was promoted and still is the champion.

    It gets ``vertex.traffic_percent`` of the requests, the version before the rest; what gets none is undeployed.
    Skipped where ``vertex.endpoints`` names no endpoint of the model, which is so by default.

    Args:
        plan: the run's plan, from task ``plan``.
        registered: what :class:`RegisterModelOperator` returned.

    Returns the endpoint, the deployment's id, and the percentage that each deployment gets.
    """

    template_fields: Sequence[str] = ("plan", "registered")
    ui_color = "#dcd6f7"

    def __init__(self, *, plan: Any, registered: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.registered = registered

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Deploy and divide the requests. Doing it again changes nothing."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            settings, version = plan.settings, self.registered["version"]
            if plan.model_type not in settings.vertex.endpoints:
                where = f"vertex.endpoints in the Variable {VARIABLE}"
                raise AirflowSkipException(f"{where} names no endpoint of {plan.model_type}: nothing is deployed")
            if not self.registered["champion"]:
                raise AirflowSkipException(f"the version is not champion: {self.registered['reason']}")

            from f1_training.registry.store import Registry
            from f1_training.vertex.models import VertexModels, version_spec

            registry = Registry(settings.uris.models)
            newest = registry.alias(plan.model_type)
            if newest is None or newest.model_version != version:
                now = newest.model_version if newest else "none"
                raise AirflowSkipException(f"{version} is not the champion any more, which is {now}")
            client = _connected(settings)
            uploaded = VertexModels(client, settings.vertex).ensure(
                version_spec(registry.model(plan.model_type, version))
            )
            deployment = _deployed(client, settings, plan.model_type, uploaded, settings.vertex.traffic_percent)
        self.log.info("%s: %s", deployment.endpoint, _told(deployment))
        return {"endpoint": deployment.endpoint, "deployed": deployment.deployed, "traffic": dict(deployment.traffic)}


class FollowChampionOnVertexOperator(BaseOperator):
    """After a rollback: let Vertex AI's alias ``champion``, and the model's endpoint, follow the registry's.

    The version that serves again gets all requests of the endpoint, deployed anew where it was taken away. Skipped
    where the settings name no region of Vertex AI.

    Args:
        model_type: a model of the registry.

    Returns the champion's resource name, and the endpoint's ("" where there is none).
    """

    template_fields: Sequence[str] = ("model_type",)

    def __init__(self, *, model_type: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_type = model_type

    def execute(self, context: Any) -> dict[str, str]:  # noqa: ARG002 - Airflow's signature
        """Move the alias, then the requests. Doing it again changes nothing."""
        with airflow_errors():
            settings = deployed_settings()
            client = _connected(settings)

            from f1_training.registry.store import Registry
            from f1_training.vertex.models import VertexModels, follow_champion

            models, registry = VertexModels(client, settings.vertex), Registry(settings.uris.models)
            champion = follow_champion(models, registry, self.model_type)
            if champion is None:
                raise AirflowSkipException(f"{self.model_type} has no champion")
            if self.model_type not in settings.vertex.endpoints:
                return {"champion": champion.name, "endpoint": ""}
            deployment = _deployed(client, settings, self.model_type, champion, ALL_TRAFFIC)
        self.log.info("%s: %s", deployment.endpoint, _told(deployment))
        return {"champion": champion.name, "endpoint": deployment.endpoint}


def _connected(settings: Settings) -> VertexClient:
    """A client of the deployment's region; a task is skipped where there is none."""
    if not settings.vertex.region:
        raise AirflowSkipException(f"vertex.region in the Variable {VARIABLE} is not set: Vertex AI is not used")
    from f1_training.vertex.client import VertexClient

    return VertexClient.connect(settings)


def _deployed(
    client: VertexClient, settings: Settings, model_type: str, version: ModelVersion, percent: int
) -> Deployment:
    from f1_training.vertex.endpoints import VertexEndpoints

    return VertexEndpoints(client, settings.vertex).deploy(version, settings.vertex.endpoints[model_type], percent)


def _told(deployment: Deployment) -> str:
    shown = (
        f"{share} % to {'this version' if d == deployment.deployed else d}" for d, share in deployment.traffic.items()
    )
    return ", ".join(shown)
