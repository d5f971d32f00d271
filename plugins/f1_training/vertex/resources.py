"""What is known of Vertex AI's resources: plain values, so that decisions about them need no client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Labels of everything that this package makes: the model type, and the registry's version of it.
MODEL_LABEL = "f1-training-model"
VERSION_LABEL = "f1-training-version"
ENGINE_LABEL = "f1-training-engine"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """One version of a Model. ``model`` is the Model's resource name, ``version_id`` Vertex's own number; ``endpoints``
    are the resource names of those that it is deployed to.
    """

    model: str
    version_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The version's resource name."""
        return f"{self.model}@{self.version_id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployedVersion:
    """A version on an endpoint; ``id`` is the deployment's."""

    id: str
    model: str
    version_id: str

    def is_of(self, version: ModelVersion) -> bool:
        """Whether it is a deployment of ``version``."""
        return self.is_of_model(version.model) and self.version_id == version.version_id

    def is_of_model(self, model: str) -> bool:
        """Whether it is a deployment of any version of this Model. Vertex may name the project by its number."""
        return self.model.rpartition("/")[2] == model.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An endpoint: what is deployed, and the percentage of its requests that each deployment gets, by id."""

    name: str
    deployed: tuple[DeployedVersion, ...] = ()
    traffic: Mapping[str, int] = field(default_factory=dict)
    etag: str = ""
