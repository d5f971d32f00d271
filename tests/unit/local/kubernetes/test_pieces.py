"""Selectors, patches, quantities, validation."""

import copy

import pytest

from composer.local.kubernetes.patches import PatchError, apply
from composer.local.kubernetes.quantities import quantity
from composer.local.kubernetes.selectors import SelectorError, matches
from composer.local.kubernetes.store import ConflictError, Key, Store
from composer.local.kubernetes.validation import InvalidError, validate, validate_change

POD = {"metadata": {"name": "p", "labels": {"app": "a", "tier": "x"}}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("", "", True),
        ("app=a", "", True),
        ("app==a,tier=x", "", True),
        ("app!=a", "", False),
        ("other!=a", "", True),
        ("app in (a, b)", "", True),
        ("app notin (a,b)", "", False),
        ("app", "", True),
        ("!app", "", False),
        ("!other", "", True),
        ("", "metadata.name=p,status.phase!=Pending", True),
        ("", "status.phase=Pending", False),
    ],
)
def test_selectors(labels: str, fields: str, expected: bool) -> None:
    assert matches(POD, labels, fields) is expected


def test_a_selector_that_is_none_is_refused() -> None:
    with pytest.raises(SelectorError):
        matches(POD, "a b c")


def test_patches_of_three_kinds() -> None:
    item = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}], "x": 1}}
    before = copy.deepcopy(item)
    strategic = apply(
        item, {"spec": {"containers": [{"name": "b", "image": "2"}]}}, "application/strategic-merge-patch+json"
    )
    assert [c["image"] for c in strategic["spec"]["containers"]] == ["1", "2"]
    merged = apply(item, {"spec": {"containers": [], "x": None}}, "application/merge-patch+json")
    assert merged == {"spec": {"containers": []}}
    patched = apply(
        item, [{"op": "replace", "path": "/spec/containers/0/image", "value": "3"}], "application/json-patch+json"
    )
    assert patched["spec"]["containers"][0]["image"] == "3"
    assert item == before
    with pytest.raises(PatchError, match="/nope/x"):
        apply(item, [{"op": "remove", "path": "/nope/x"}], "application/json-patch+json")


@pytest.mark.parametrize(("text", "number"), [("500m", 0.5), ("2", 2), ("2Gi", 2**31), ("1k", 1000)])
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number


def test_a_quantity_that_is_none() -> None:
    with pytest.raises(ValueError, match="'lots' is not a quantity"):
        quantity("lots")


def indexed(**spec: object) -> dict[str, object]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "m", "image": "i"}]}}
    body = {"completionMode": "Indexed", "completions": 1, "template": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": body}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"completions": None}, "spec"),
        ({"completionMode": "NonIndexed", "backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex"),
        ({"maxFailedIndexes": 1}, "spec.backoffLimitPerIndex"),
        (
            {"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "TerminatingOrFailed"},
            "spec.podReplacementPolicy",
        ),
        ({"unknownField": 1}, "spec"),
    ],
)
def test_jobs_that_a_cluster_refuses(spec: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        validate("jobs", indexed(**spec))
    assert caught.value.field.startswith(field)


def test_names_are_checked() -> None:
    with pytest.raises(InvalidError, match=r"metadata\.name"):
        validate("configmaps", {"metadata": {"name": "Not_OK"}})


def test_a_started_jobs_template_is_immutable() -> None:
    old = indexed() | {"status": {"startTime": "x"}}
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "other"  # type: ignore[index]
    with pytest.raises(InvalidError, match=r"spec\.template"):
        validate_change("jobs", old, new)


def test_the_store_refuses_an_old_version() -> None:
    store = Store()
    key = Key("pods", "n", "p")
    first = store.create(key, {"spec": {}})
    store.replace(key, {**first, "spec": {"a": 1}})
    with pytest.raises(ConflictError):
        store.replace(key, first, expected=first["metadata"]["resourceVersion"])
