"""What becomes of an object as it grows older: a bucket's lifecycle rules, day by day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from composer.policy.plan import Resource

#: Conditions that are evaluated here; another one is refused.
CONDITIONS = {"age", "days_since_noncurrent_time", "matches_storage_class", "matches_prefix", "with_state"}
#: Days that a class bills at least.
MINIMUM_DAYS = {"STANDARD": 0, "NEARLINE": 30, "COLDLINE": 90, "ARCHIVE": 365}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One version of an object, ``age`` days old. ``noncurrent`` is for how many days; None: it is live."""

    name: str
    storage_class: str
    age: int = 0
    noncurrent: int | None = None
    #: Days since the class was last changed.
    in_class: int = 0


def after(bucket: Resource, days: int, name: str = "object") -> Stored | None:
    """An object that was written to ``bucket`` ``days`` ago and not touched since; None: it is gone."""
    stored: Stored | None = Stored(name=name, storage_class=bucket["storage_class"])
    for _ in range(days):
        assert stored is not None
        grown = None if stored.noncurrent is None else stored.noncurrent + 1
        stored = _day(bucket, replace(stored, age=stored.age + 1, noncurrent=grown, in_class=stored.in_class + 1))
        if stored is None:
            return None
    return stored


def deleted(bucket: Resource, stored: Stored) -> Stored | None:
    """What a delete leaves: a noncurrent version where the bucket keeps versions, else nothing."""
    keeps = any(block["enabled"] for block in bucket.get("versioning", []))
    return replace(stored, noncurrent=0) if keeps and stored.noncurrent is None else None


def early_deletion_days(stored: Stored) -> int:
    """Days of storage that are billed for nothing if ``stored`` goes now."""
    return max(0, MINIMUM_DAYS[stored.storage_class] - stored.in_class)


def _day(bucket: Resource, stored: Stored) -> Stored | None:
    actions = [r["action"][0] for r in bucket.get("lifecycle_rule", []) if _matches(r["condition"][0], stored)]
    kinds = [action["type"] for action in actions]
    if "Delete" in kinds:
        return deleted(bucket, stored)
    for action in actions:
        if action["type"] == "SetStorageClass":
            stored = replace(stored, storage_class=action["storage_class"], in_class=0)
    return stored


def _matches(condition: Mapping[str, Any], stored: Stored) -> bool:
    unknown = set(condition) - CONDITIONS
    if unknown:
        raise ValueError(f"lifecycle conditions that are not evaluated here: {', '.join(sorted(unknown))}")
    if (
        "days_since_noncurrent_time" in condition
        and (stored.noncurrent or -1) < condition["days_since_noncurrent_time"]
    ):
        return False
    state = condition.get("with_state", "ANY")
    return (
        stored.age >= condition.get("age", 0)
        and state in ("ANY", "LIVE" if stored.noncurrent is None else "ARCHIVED")
        and stored.storage_class in condition.get("matches_storage_class", [stored.storage_class])
        and any(stored.name.startswith(prefix) for prefix in condition.get("matches_prefix", [""]))
    )
