"""What Terraform would make of the example, resolved once for all tests."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from composer.policy.access import Access, Thing, access_of
from composer.policy.firewall import Firewall, firewall_of
from composer.policy.page import EXAMPLE, TERRAFORM
from composer.policy.plan import Module, Resource, root_module

PROJECT = "f1-strategy"


@functools.cache
def root() -> Module:
    return root_module(TERRAFORM, EXAMPLE)


@functools.cache
def plan() -> tuple[Resource, ...]:
    return tuple(root().resources())


def of_type(kind: str) -> list[Resource]:
    found = [r for r in plan() if r.type == kind]
    assert found, f"there is no {kind}"
    return found


def one(kind: str, key: Any = None, name: str = "") -> Resource:
    (found,) = [r for r in of_type(kind) if key in (None, r.key) and name in ("", r.name)]
    return found


@functools.cache
def access() -> Access:
    return access_of(plan())


@functools.cache
def firewall() -> Firewall:
    return firewall_of(plan())


def account(key: str) -> str:
    return str(one("google_service_account", key)["email"])


def bucket(name: str) -> Thing:
    return Thing("bucket", one("google_storage_bucket", name=name)["name"])


def dataset(key: str) -> Thing:
    return Thing("dataset", one("google_bigquery_dataset", key)["dataset_id"])


def pools() -> Mapping[str, Mapping[str, Any]]:
    """The nodes of every pool."""
    return {r["name"]: r.one("node_config") for r in of_type("google_container_node_pool")}
