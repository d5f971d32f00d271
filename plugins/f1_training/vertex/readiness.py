"""Whether Vertex AI would take what a run gives it: what is there already, asked without making anything."""

from __future__ import annotations

from f1_training.core.vertex import VertexSettings
from f1_training.vertex.client import VertexClient
from f1_training.vertex.endpoints import VertexEndpoints, refuse_others
from f1_training.vertex.models import VertexModels


def readiness(client: VertexClient, settings: VertexSettings, model_type: str) -> str:
    """What Vertex AI has of ``model_type``, and of every model that has an endpoint in the settings.

    A Model or an endpoint that is missing is made by the first upload or deployment, so that is no failure.

    Raises:
        TrainingFailure: ``PermissionDenied`` when Models or endpoints may not be listed; ``ConfigInvalid`` when a label
            or a name is there twice, or an endpoint serves another model.
    """
    models, endpoints = VertexModels(client, settings), VertexEndpoints(client, settings)
    lines = []
    for name in sorted({model_type, *settings.endpoints}):
        model = models.find(name)
        has = f"is {model.rpartition('/')[2]}" if model else "has no version yet"
        served = _endpoint(endpoints, settings.endpoints.get(name, ""), model or f"a Model of {name}")
        lines.append(f"{name} {has}{served}")
    how = "pinned by its digest" if "@sha256:" in settings.serving_image else "by a tag, which may be moved"
    return f"{'; '.join(lines)}; in {settings.region}, serving image {how}"


def _endpoint(endpoints: VertexEndpoints, name: str, model: str) -> str:
    if not name:
        return ", without an endpoint"
    found = endpoints.find(name)
    if found is None:
        return f", endpoint {name} is made by the first deployment"
    refuse_others(found, model)
    return f", endpoint {name} serves {len(found.deployed)} of its versions"
