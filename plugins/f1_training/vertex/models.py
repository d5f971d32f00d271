"""Versions of the registry in Vertex AI's Model Registry: uploaded once, with the registry's alias on the champion.

Each model type is one Model there, found by its label, and each registered version one version of it, found by its
label, too. Looking comes before uploading, and an upload that is still running is waited for, so that a task that is
tried again makes no second version.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from f1_training.core.vertex import VertexSettings
from f1_training.registry.card import metrics_shown
from f1_training.registry.store import CHAMPION, RegisteredModel, Registry
from f1_training.vertex.client import UPLOAD, AlreadyThereError, InUseError, VertexClient
from f1_training.vertex.resources import ENGINE_LABEL, MODEL_LABEL, VERSION_LABEL, ModelVersion
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import require

log = logging.getLogger(__name__)

LABEL = re.compile(r"[a-z0-9_-]{1,63}")
#: How the container starts; Vertex AI tells it the rest through AIP_STORAGE_URI and its siblings.
COMMAND = ("python", "-m", "trainer.serve")
PORT, HEALTH_ROUTE, PREDICT_ROUTE = 8080, "/health", "/predict"
#: The alias of the version that Vertex AI takes where none is named; it refuses to delete that one.
DEFAULT = "default"
#: How often the champion may change while the alias is moved.
CHANGES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSpec:
    """A version as it is uploaded. ``artifact_uri`` is its folder in the registry, ``about`` what is special of it."""

    model_type: str
    version: str
    engine: str
    description: str
    about: str
    artifact_uri: str

    def __post_init__(self) -> None:
        for name in ("model_type", "version", "engine"):
            value = getattr(self, name)
            fix = "Vertex AI's labels are lower case letters, digits, _ and -"
            require(bool(LABEL.fullmatch(value)), name, f"{value!r} cannot be a label; {fix}")

    @property
    def labels(self) -> dict[str, str]:
        """By which it is found again."""
        return {MODEL_LABEL: self.model_type, VERSION_LABEL: self.version, ENGINE_LABEL: self.engine}

    @property
    def model_id(self) -> str:
        """The id of the Model where this is its first version: of two that come at once, one makes it."""
        return f"f1-{self.model_type}"[:63]

    def body(self, serving_image: str) -> dict[str, Any]:
        """The ``Model`` of Vertex AI's API."""
        return {
            "display_name": self.model_type,
            "description": self.description,
            "version_description": self.about,
            "artifact_uri": self.artifact_uri,
            "labels": self.labels,
            "container_spec": {
                "image_uri": serving_image,
                "command": list(COMMAND),
                "ports": [{"container_port": PORT}],
                "health_route": HEALTH_ROUTE,
                "predict_route": PREDICT_ROUTE,
            },
        }


def version_spec(registered: RegisteredModel) -> VersionSpec:
    """What is uploaded of a registered version."""
    card = registered.card
    metrics = ", ".join(f"{name} {value:.6g}" for name, value in sorted(metrics_shown(card).items()))
    return VersionSpec(
        model_type=card.model_type,
        version=card.model_version,
        engine=card.engine,
        description=card.description,
        about=f"{card.model_version} of run {card.run_id}: {card.rounds} rounds; {metrics}",
        artifact_uri=registered.model_uri.rpartition("/")[0],
    )


class VertexModels:
    """The Model Registry of one region."""

    def __init__(self, client: VertexClient, settings: VertexSettings) -> None:
        self._client = client
        self._settings = settings

    def ensure(self, spec: VersionSpec) -> ModelVersion:
        """The version in Vertex AI, uploaded unless it is there.

        Raises:
            TrainingFailure: what Vertex AI refused; ``ConfigInvalid`` when labels are not what they must be;
                ``NetworkTimeout`` when an upload, also an earlier one, did not end in time.
        """
        model = self.find(spec.model_type)
        if model is None:
            try:
                return self._upload(spec, model_id=spec.model_id)
            except AlreadyThereError:
                model = self._made_meanwhile(spec)
        self._client.settle(model, (UPLOAD,), self._settings.upload_within_s)
        found = self._version(model, spec)
        if found is None:
            return self._upload(spec, parent_model=model)
        log.info("%s %s is in Vertex AI already, as %s", spec.model_type, spec.version, found.name)
        return found

    def point(self, version: ModelVersion) -> None:
        """Let the aliases ``champion`` and ``default`` mean a version, and no other one of its Model."""
        if not {CHAMPION, DEFAULT} <= set(version.aliases):
            self._client.merge_aliases(version, [CHAMPION, DEFAULT])
            log.info("%s is %s in Vertex AI, and its default", version.name, CHAMPION)

    def retire(self, model_type: str, version: str) -> str:
        """Delete a registered version that nobody needs. "" when it is gone, or was never there; else why it stays.

        Raises:
            TrainingFailure: what Vertex AI refused; ``NetworkTimeout`` when it did not end, or answer, in time.
        """
        model = self.find(model_type)
        found = self._client.versions(model, VERSION_LABEL, version) if model else []
        if needed := [why for one in found if (why := _needed(one))]:
            return needed[0]
        for one in found:
            try:
                self._client.delete_version(one, self._settings.upload_within_s)
            except InUseError as e:
                return f"Vertex AI keeps {one.name}: {e}"
            log.info("%s is deleted from Vertex AI", one.name)
        return ""

    def _upload(self, spec: VersionSpec, **where: str) -> ModelVersion:
        body = spec.body(self._settings.serving_image)
        made = self._client.upload(body, self._settings.upload_within_s, **where)
        log.info("%s %s is uploaded to Vertex AI as %s", spec.model_type, spec.version, made.name)
        return made

    def find(self, model_type: str) -> str | None:
        """The resource name of a model type's Model; None before its first upload.

        Raises:
            TrainingFailure: what Vertex AI refused; ``ConfigInvalid`` when several have its label.
        """
        found = self._client.models(MODEL_LABEL, model_type)
        if len(found) > 1:
            message = (
                f"{' and '.join(sorted(found))} have the label {MODEL_LABEL}={model_type}; take it from all but one"
            )
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        return found[0] if found else None

    def _made_meanwhile(self, spec: VersionSpec) -> str:
        """The Model whose id is taken: made by an upload that still runs, by another run, or by somebody else."""
        name = f"{self._client.location}/models/{spec.model_id}"
        self._client.settle(name, (UPLOAD,), self._settings.upload_within_s)
        model = self.find(spec.model_type)
        if model is None:
            label = f"{MODEL_LABEL}={spec.model_type}"
            message = f"{name} is there without the label {label}; give its default version that label, or delete it"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        return model

    def _version(self, model: str, spec: VersionSpec) -> ModelVersion | None:
        found = self._client.versions(model, VERSION_LABEL, spec.version)
        if len(found) > 1:
            log.warning("%s has several versions with the label %s=%s: the oldest counts, delete the others: %s",
                        model, VERSION_LABEL, spec.version, ", ".join(v.name for v in found))  # fmt: skip
        return found[0] if found else None


def _needed(version: ModelVersion) -> str:
    if version.endpoints:
        return f"{version.name} is deployed to {', '.join(version.endpoints)}"
    return f"{version.name} is {' and '.join(sorted(version.aliases))} in Vertex AI" if version.aliases else ""


def follow_champion(models: VertexModels, registry: Registry, model_type: str) -> ModelVersion | None:
    """Let the alias ``champion`` in Vertex AI mean what it means in the registry; None where nothing was promoted yet.

    A champion that Vertex AI does not have yet is uploaded. The registry is read again afterwards, because another run
    or a rollback may have moved its alias in the meantime, and both may have moved Vertex AI's.

    Raises:
        TrainingFailure: what Vertex AI or the storage refused; ``NetworkTimeout`` when the champion keeps changing.
    """
    for _ in range(CHANGES):
        event = registry.alias(model_type)
        if event is None:
            return None
        version = models.ensure(version_spec(registry.model(model_type, event.model_version)))
        models.point(version)
        if registry.alias(model_type) == event:
            return version
    message = f"the champion of {model_type} changed {CHANGES} times while Vertex AI's alias was moved; try again later"
    raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message)
