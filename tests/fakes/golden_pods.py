"""The pods of the golden manifests, as the cluster would be given them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "golden" / "manifests"


@functools.cache
def jobs() -> dict[str, Mapping[str, Any]]:
    """Every Job, by file and component."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            if manifest["kind"] == "Job":
                component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
                found[f"{path.stem}/{component}"] = manifest
    return found


def pods() -> dict[str, Mapping[str, Any]]:
    """Every pod template, by file and component."""
    return {name: job["spec"]["template"] for name, job in jobs().items()}
