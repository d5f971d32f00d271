"""What Airflow's account must be allowed in the namespace of the jobs: the Role of ``composer/k8s/base/rbac.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permission:
    """One verb on one resource of an API group ("" is the core's); ``resource`` may have a subresource."""

    verb: str
    resource: str
    group: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        """As a SelfSubjectAccessReview asks for it."""
        resource, _, sub = self.resource.partition("/")
        return {"verb": self.verb, "group": self.group, "resource": resource, "subresource": sub}

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


#: Everything that :class:`f1_training.kubernetes.client.Cluster` asks of the API in the namespace.
NEEDED: Sequence[Permission] = (
    *(Permission(verb, "jobs", "batch") for verb in ("create", "get", "list", "patch", "delete")),
    *(Permission(verb, resource) for resource in ("services", "secrets") for verb in ("create", "get")),
    *(Permission(verb, "pods") for verb in ("list", "delete")),
    Permission("patch", "pods/status"),
    Permission("get", "pods/log"),
    Permission("list", "events"),
    Permission("list", "resourcequotas"),
)
