"""`kubectl kustomize`, as far as ``composer/k8s`` uses it: resources, components, JSON patches. All else is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
FIELDS = {"apiVersion", "kind", "resources", "components", "patches", "nameSuffix", "labels"}
#: Where labels go that are to be in selectors, too.
SELECTORS = {
    "Service": ("spec/selector",),
    "Deployment": ("spec/selector/matchLabels", "spec/template/metadata/labels"),
    "PodDisruptionBudget": ("spec/selector/matchLabels",),
    "NetworkPolicy": ("spec/podSelector/matchLabels",),
    "HorizontalPodAutoscaler": (),
}


def render(folder: Path) -> list[Manifest]:
    """The objects of the kustomization in ``folder``."""
    return build_on([], folder)


def documents(path: Path) -> list[Manifest]:
    """The objects in a file. Through JSON, so that what YAML anchors share is not patched in all places."""
    return [json.loads(json.dumps(d)) for d in yaml.safe_load_all(path.read_text()) if d is not None]


def build_on(objects: list[Manifest], folder: Path) -> list[Manifest]:
    """``objects`` with what the kustomization or component in ``folder`` adds, patched as it says."""
    (body,) = documents(folder / "kustomization.yaml")
    unknown = set(body) - FIELDS
    assert not unknown, f"{folder}: {', '.join(sorted(unknown))} is not understood here"
    made = copy.deepcopy(objects)
    for name in body.get("resources", []):
        found = folder / name
        made += render(found) if found.is_dir() else documents(found)
    for name in body.get("components", []):
        made = build_on(made, folder / name)
    for patch in body.get("patches", []):
        _patch(made, patch["target"], yaml.safe_load(patch["patch"]))
    _suffix(made, body.get("nameSuffix", ""))
    for labels in body.get("labels", []):
        assert labels["includeSelectors"], "labels that are in no selector are not understood here"
        _label(made, labels["pairs"])
    return made


def _suffix(objects: list[Manifest], suffix: str) -> None:
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for made in objects if suffix else ():
        made["metadata"]["name"] += suffix
        target = made["spec"].get("scaleTargetRef", {})
        if (target.get("kind"), target.get("name")) in names:
            target["name"] += suffix


def _label(objects: list[Manifest], pairs: Mapping[str, str]) -> None:
    for made in objects:
        made["metadata"].setdefault("labels", {}).update(pairs)
        for path in SELECTORS[made["kind"]]:
            place = made
            for step in path.split("/"):
                place = place[step]
            place.update(pairs)
        if made["kind"] == "Deployment":
            for constraint in made["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
                constraint["labelSelector"]["matchLabels"].update(pairs)


def _patch(objects: list[Manifest], target: Mapping[str, str], operations: list[Mapping[str, Any]]) -> None:
    found = [o for o in objects if o["kind"] == target["kind"] and o["metadata"]["name"] == target["name"]]
    assert len(found) == 1, f"a patch wants one {target['kind']} {target['name']}; there are {len(found)}"
    for operation in operations:
        assert operation["op"] == "replace", f"{operation['op']} is not understood here"
        *parents, last = (
            step.replace("~1", "/").replace("~0", "~") for step in operation["path"].removeprefix("/").split("/")
        )
        place: Any = found[0]
        for step in parents:
            place = place[_key(place, step)]
        # Replacing what is not there is an error, as the standard says: a misspelt path must not pass.
        assert isinstance(place, list) or last in place, f"there is no {operation['path']} in {target['name']}"
        place[_key(place, last)] = operation["value"]


def _key(place: Any, step: str) -> Any:
    return int(step) if isinstance(place, list) else step
