"""Patches: JSON merge patch, JSON patch, and strategic merge for the lists that have a merge key."""

from __future__ import annotations

import copy
from typing import Any

#: Lists of objects that a strategic merge patch merges by this key; all other lists are replaced.
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "conditions": "type", "ports": "containerPort"}
MERGE_KEYS |= {"volumeMounts": "mountPath", "ownerReferences": "uid"}


class PatchError(ValueError):
    """The patch cannot be applied."""


def apply(item: dict[str, Any], patch: Any, content_type: str) -> dict[str, Any]:
    """``item`` with ``patch`` of that content type applied; ``item`` itself is not changed."""
    result = copy.deepcopy(item)
    if isinstance(patch, list) or "json-patch" in content_type:
        for operation in patch:
            _operate(result, operation)
        return result
    _merge(result, patch, strategic="strategic" in content_type)
    return result


def _merge(target: dict[str, Any], patch: dict[str, Any], *, strategic: bool) -> None:
    for name, value in patch.items():
        current = target.get(name)
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(current, dict):
                current = target[name] = {}
            _merge(current, value, strategic=strategic)
        elif strategic and isinstance(value, list) and isinstance(current, list) and name in MERGE_KEYS:
            _merge_list(current, value, MERGE_KEYS[name])
        else:
            target[name] = value


def _merge_list(current: list[Any], patch: list[Any], key: str) -> None:
    for entry in patch:
        for old in current:
            if isinstance(old, dict) and isinstance(entry, dict) and old.get(key) == entry.get(key):
                _merge(old, entry, strategic=True)
                break
        else:
            current.append(entry)


def _operate(item: dict[str, Any], operation: dict[str, Any]) -> None:
    *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].lstrip("/").split("/")]
    target: Any = item
    try:
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if operation["op"] == "remove":
            del target[int(last) if isinstance(target, list) else last]
        elif operation["op"] not in ("add", "replace"):
            raise PatchError(f"operation {operation['op']!r} is not served by this stand-in")
        elif isinstance(target, list):
            position = len(target) if last == "-" else int(last)
            if operation["op"] == "add":
                target.insert(position, operation["value"])
            else:
                target[position] = operation["value"]
        else:
            target[last] = operation["value"]
    except (KeyError, IndexError, TypeError) as e:
        raise PatchError(f"the path {operation['path']} does not exist") from e
