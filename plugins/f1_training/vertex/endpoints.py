"""Champions on Vertex AI's endpoints: deployed once, with a share of the requests; what gets none is taken away."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from f1_training.core.vertex import VertexSettings
from f1_training.vertex.client import CREATE, DEPLOYS, AlreadyThereError, VertexClient
from f1_training.vertex.resources import MODEL_LABEL, VERSION_LABEL, DeployedVersion, Endpoint, ModelVersion
from f1_training.vertex.traffic import NEW, shares
from trainer.contract import FailureReason, TrainingFailure

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What an endpoint serves now: the percentage of each deployment, and which one is the version's."""

    endpoint: str
    deployed: str
    traffic: Mapping[str, int]


class VertexEndpoints:
    """The endpoints of one region."""

    def __init__(self, client: VertexClient, settings: VertexSettings) -> None:
        self._client = client
        self._settings = settings

    def deploy(self, version: ModelVersion, name: str, percent: int) -> Deployment:
        """See that a version gets ``percent`` of the requests to an endpoint, and the one before the rest.

        The endpoint is made where it is missing. A version that is deployed is adopted, also by a try that comes while
        an earlier one's deployment still runs. Deployments without requests are taken from the endpoint afterwards.

        Args:
            version: in Vertex AI.
            name: the endpoint's display name.
            percent: 1 to 100.

        Raises:
            TrainingFailure: what Vertex AI refused; ``ConfigInvalid`` when the endpoint serves another model, too;
                ``NetworkTimeout`` when a deployment did not end in time.
        """
        endpoint = self._endpoint(name, version)
        self._client.settle(endpoint.name, DEPLOYS, self._settings.deploy_within_s)
        endpoint = self._client.endpoint(endpoint.name)
        refuse_others(endpoint, version.model)
        mine = self._deployed(endpoint, version)
        if mine is None:
            traffic = shares(endpoint.traffic, NEW, percent)
            self._client.deploy(endpoint, self._body(version), traffic, self._settings.deploy_within_s)
        else:
            log.info("%s is deployed to %s already, as %s", version.name, endpoint.name, mine.id)
            traffic = shares(endpoint.traffic, mine.id, percent)
            if traffic != endpoint.traffic:
                self._client.set_traffic(endpoint, traffic)
        return self._without_idle(self._client.endpoint(endpoint.name), version)

    def _without_idle(self, endpoint: Endpoint, version: ModelVersion) -> Deployment:
        mine = self._deployed(endpoint, version)
        if mine is None:
            message = f"{version.name} was deployed to {endpoint.name}, and is not there; did somebody take it away?"
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message)
        for other in endpoint.deployed:
            if other.id != mine.id and not endpoint.traffic.get(other.id):
                self._client.undeploy(endpoint, other.id, self._settings.deploy_within_s)
                log.info("version %s got no requests, and is taken from %s", other.version_id, endpoint.name)
        return Deployment(endpoint=endpoint.name, deployed=mine.id, traffic=endpoint.traffic)

    def find(self, name: str) -> Endpoint | None:
        """The endpoint of this display name; None where there is none yet.

        Raises:
            TrainingFailure: what Vertex AI refused; ``ConfigInvalid`` when several have the name.
        """
        found = self._client.endpoints(name)
        if len(found) > 1:
            message = f"{' and '.join(sorted(e.name for e in found))} are both named {name}; rename all but one"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        return found[0] if found else None

    def _endpoint(self, name: str, version: ModelVersion) -> Endpoint:
        found = self.find(name)
        if found is not None:
            return found
        labels = {MODEL_LABEL: version.labels[MODEL_LABEL]}
        try:
            made = self._client.create_endpoint(name, labels, self._settings.deploy_within_s)
            log.info("the endpoint %s is made", made)
        except AlreadyThereError:
            made = f"{self._client.location}/endpoints/{name}"
            self._client.settle(made, (CREATE,), self._settings.deploy_within_s)
        return self._client.endpoint(made)

    @staticmethod
    def _deployed(endpoint: Endpoint, version: ModelVersion) -> DeployedVersion | None:
        """The version's deployment; of several, the one that gets most requests."""
        mine = [deployed for deployed in endpoint.deployed if deployed.is_of(version)]
        return max(mine, key=lambda d: (endpoint.traffic.get(d.id, 0), d.id), default=None)

    def _body(self, version: ModelVersion) -> dict[str, Any]:
        """The ``DeployedModel`` of Vertex AI's API."""
        settings = self._settings
        return {
            "model": version.name,
            "display_name": f"{version.labels[MODEL_LABEL]} {version.labels[VERSION_LABEL]}",
            "service_account": settings.service_account,
            "dedicated_resources": {
                "machine_spec": {"machine_type": settings.machine_type},
                "min_replica_count": settings.min_replicas,
                "max_replica_count": settings.max_replicas,
            },
        }


def refuse_others(endpoint: Endpoint, model: str) -> None:
    """Refuse an endpoint that serves anything but the Model ``model``.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming what it serves.
    """
    others = sorted({d.model for d in endpoint.deployed if not d.is_of_model(model)})
    if others:
        message = (
            f"{endpoint.name} serves {', '.join(others)}, which is not {model}; give the model an endpoint of its own "
            "(vertex.endpoints in the Variable f1_training)"
        )
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
