"""Who may do what: every grant of the plan, as permissions on things, less what the deny policies take away."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from composer.policy.plan import Resource

ROLES = Path(__file__).parent / "roles.toml"
#: What each kind of grant is about: the argument that names it, and what we call it.
GRANTS = {
    "google_project_iam_member": ("project", "project"),
    "google_storage_bucket_iam_member": ("bucket", "bucket"),
    "google_bigquery_dataset_iam_member": ("dataset_id", "dataset"),
    "google_artifact_registry_repository_iam_member": ("repository", "repository"),
    "google_secret_manager_secret_iam_member": ("secret_id", "secret"),
    "google_service_account_iam_member": ("service_account_id", "account"),
    "google_kms_crypto_key_iam_member": ("crypto_key_id", "key"),
}
#: Say who may do what by other means, and are read elsewhere or give nobody anything.
OTHER = ("google_project_iam_custom_role", "google_project_iam_audit_config", "google_iam_deny_policy")
#: Where the name of a service is not the first part of its permissions.
SERVICES = {"cloudresourcemanager": "resourcemanager"}
DENIED_MEMBER = "principal://iam.googleapis.com/projects/-/serviceAccounts/"


class UnknownGrantError(ValueError):
    """A grant that cannot be read as permissions, so that nothing could be said of who may do what."""


@dataclass(frozen=True, order=True)
class Thing:
    """What a grant is about: ``bucket f1-strategy-models``, ``project f1-strategy``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.kind if self.kind == "project" else f"{self.kind} `{self.name}`"


@dataclass(frozen=True)
class Grant:
    """``role`` on ``thing`` for ``member``."""

    member: str
    role: str
    thing: Thing


@dataclass(frozen=True)
class Access:
    """All grants and denials of a plan. Accounts are e-mail addresses, or other members as they are written."""

    grants: tuple[Grant, ...]
    roles: Mapping[str, frozenset[str]]
    denied: Mapping[str, frozenset[str]]

    def members(self) -> list[str]:
        """Everybody who is granted anything."""
        return sorted({g.member for g in self.grants})

    def may(self, member: str, permission: str, thing: Thing) -> bool:
        """Whether ``member`` has ``permission`` on ``thing``, by a grant on it or on the project."""
        return permission in self.permissions(member, thing)

    def permissions(self, member: str, thing: Thing) -> frozenset[str]:
        """What ``member`` may do to ``thing``."""
        here = [g for g in self.grants if g.member == member and (g.thing == thing or g.thing.kind == "project")]
        return frozenset().union(*(self.roles[g.role] for g in here)) - self.denied.get(member, frozenset())

    def anywhere(self, member: str) -> frozenset[str]:
        """What ``member`` may do to anything."""
        return frozenset().union(*(self.permissions(member, g.thing) for g in self.grants))

    def who(self, permission: str, thing: Thing) -> set[str]:
        """Everybody who has ``permission`` on ``thing``."""
        return {member for member in self.members() if self.may(member, permission, thing)}


def access_of(resources: Iterable[Resource]) -> Access:
    """What the plan's grants and deny policies come to.

    Raises:
        UnknownGrantError: a grant has a form or a role that is not known here, or a condition.
    """
    found = list(resources)
    roles = {role: frozenset(permissions) for role, permissions in tomllib.loads(ROLES.read_text()).items()}
    for custom in (r for r in found if r.type == "google_project_iam_custom_role"):
        roles[custom["id"]] = frozenset(custom["permissions"])
    grants = tuple(_grant(r) for r in found if "_iam_" in r.type and r.type not in OTHER)
    unknown = sorted({g.role for g in grants} - set(roles))
    if unknown:
        raise UnknownGrantError(f"{', '.join(unknown)}: say in {ROLES.name} what these roles permit")
    return Access(grants, roles, _denied(r for r in found if r.type == "google_iam_deny_policy"))


def _grant(resource: Resource) -> Grant:
    if resource.type not in GRANTS:
        fix = f"use one of {', '.join(GRANTS)}; a binding or policy would take away what others grant"
        raise UnknownGrantError(f"{resource.address}: {fix}")
    if "condition" in resource.arguments:
        raise UnknownGrantError(f"{resource.address}: has a condition, which is not evaluated here; grant on the thing")
    argument, kind = GRANTS[resource.type]
    name, where = str(resource[argument]).rpartition("/")[2], str(resource.get("project", resource.project))
    if where != resource.project:
        # What somebody may do in another project says nothing of ours, whatever the thing there is called.
        name, kind = name if kind == "project" else f"{where}.{name}", f"another {kind}"
    return Grant(str(resource["member"]).removeprefix("serviceAccount:"), resource["role"], Thing(kind, name))


def _denied(policies: Iterable[Resource]) -> dict[str, frozenset[str]]:
    denied: dict[str, frozenset[str]] = {}
    for policy in policies:
        for rules in policy["rules"]:
            for rule in rules["deny_rule"]:
                permissions = frozenset(_as_granted(p) for p in rule["denied_permissions"])
                for principal in rule["denied_principals"]:
                    email = principal.removeprefix(DENIED_MEMBER)
                    denied[email] = denied.get(email, frozenset()) | permissions
    return denied


def _as_granted(permission: str) -> str:
    """``storage.googleapis.com/objects.delete``, as deny policies write it, as roles do: ``storage.objects.delete``."""
    host, _, rest = permission.partition("/")
    service = host.removesuffix(".googleapis.com")
    return f"{SERVICES.get(service, service)}.{rest}"
