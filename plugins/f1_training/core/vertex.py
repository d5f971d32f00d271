"""What a deployment says of Vertex AI: :class:`VertexSettings`, a section of the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.contract.fields import require

REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")
#: An endpoint's id, which may begin with a digit only where it is a number.
ENDPOINT = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MACHINE_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class VertexSettings:
    """Vertex AI in ``region``. Without a region nothing is uploaded, without ``endpoints`` nothing is deployed.

    Each version is uploaded with the container that would serve it: ``serving_image``, in which ``trainer.serve`` is
    installed. ``endpoints`` names the endpoint of a model type, one for each model that is to be served. A new champion
    is deployed there on ``machine_type``, ``min_replicas`` to ``max_replicas`` of them, with ``service_account``'s
    rights (an e-mail address; by default one of Google's without any), and gets ``traffic_percent`` of the requests;
    the rest stays with the version before. ``upload_within_s`` and ``deploy_within_s`` are how long each is waited for.
    """

    region: str = ""
    serving_image: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    machine_type: str = "n1-standard-2"
    min_replicas: int = 1
    max_replicas: int = 1
    traffic_percent: int = 100
    service_account: str = ""
    upload_within_s: float = 1800.0
    deploy_within_s: float = 3600.0

    def __post_init__(self) -> None:
        fits = not self.region or bool(REGION.fullmatch(self.region))
        require(fits, "region", f"is {self.region!r}; a region of Vertex AI such as europe-west4")
        if not self.region:
            require(not self.serving_image, "serving_image", "is given without region; give both, or neither")
            require(not self.endpoints, "endpoints", "is given without region; give both, or neither")
        else:
            require(bool(self.serving_image), "serving_image", "is empty; the address of an image with trainer.serve")
        for model, name in self.endpoints.items():
            fix = "a letter, then lower case letters, digits and -"
            require(bool(ENDPOINT.fullmatch(name)), f"endpoints.{model}", f"is {name!r}; {fix}")
        shared = len(set(self.endpoints.values())) < len(self.endpoints)
        require(not shared, "endpoints", "names an endpoint twice; each model needs one of its own")
        fits = bool(MACHINE_TYPE.fullmatch(self.machine_type))
        require(fits, "machine_type", f"is {self.machine_type!r}; such as n1-standard-2")
        require(self.min_replicas >= 1, "min_replicas", f"is {self.min_replicas}; 1 or more")
        fits = self.max_replicas >= self.min_replicas
        require(fits, "max_replicas", f"is {self.max_replicas}; min_replicas ({self.min_replicas}) or more")
        fits = 1 <= self.traffic_percent <= 100
        require(fits, "traffic_percent", f"is {self.traffic_percent}; 1 to 100")
        fits = not self.service_account or bool(ACCOUNT.fullmatch(self.service_account))
        require(fits, "service_account", f"is {self.service_account!r}; a service account's e-mail address")
        for name in ("upload_within_s", "deploy_within_s"):
            require(getattr(self, name) > 0, name, f"is {getattr(self, name)}; more than 0")
