"""Arguments are those that were compared with Google's provider: no provider has ever read these files here."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from composer.policy.page import EXAMPLE, REPOSITORY, TERRAFORM
from composer.policy.plan import Resource, root_module

COMPARED = REPOSITORY / "composer" / "policy" / "arguments.toml"
#: Everything that may be switched on is.
ALL = {
    "landing_bucket": "laps",
    "billing_table": "billing-project.billing.gcp_billing_export_resource_v1_01A2B3_C4D5E6_F7A8B9",
    "reservation": "projects/slots/locations/EU/reservations/data",
    "metrics_exporters": ["cloud_monitoring"],
    "deployers": ["user:ann@example.com"],
    "image_hosts": ["images.example"],
}


def paths(arguments: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``node_config.taint.key`` for an argument inside blocks; a map's own keys are ours, and not the provider's."""
    for name, value in arguments.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for block in value:
                yield from paths(block, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def used(resources: list[Resource]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for resource in resources:
        found.setdefault(resource.type, set()).update(paths(resource.arguments))
    return found


@pytest.fixture(scope="module")
def compared() -> Mapping[str, Any]:
    return tomllib.loads(COMPARED.read_text())


def test_every_argument_is_one_that_was_compared_with_the_provider_s(compared: Mapping[str, Any]) -> None:
    made = used(list(root_module(TERRAFORM, EXAMPLE, **ALL).resources()))
    unheard = {kind: sorted(names - set(compared.get(kind, []))) for kind, names in made.items()}
    assert {kind: names for kind, names in unheard.items() if names} == {}, (
        "look each up in the provider's documentation, then add it to composer/policy/arguments.toml"
    )


def test_nothing_is_listed_that_is_not_used(compared: Mapping[str, Any]) -> None:
    made = used(list(root_module(TERRAFORM, EXAMPLE, **ALL).resources()))
    assert {kind: sorted(set(names) - made.get(kind, set())) for kind, names in compared.items()} == {
        kind: [] for kind in compared
    }


def test_a_misspelt_argument_is_noticed() -> None:
    resource = Resource("x.y", "google_dns_record_set", "y", None, {"rrdata": ["a"], "nested": [{"name": 1}]}, "p")
    assert used([resource]) == {"google_dns_record_set": {"rrdata", "nested.name"}}
