"""Which versions may go: old ones that nobody serves or would go back to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta


def made_at(version: str) -> datetime | None:
    """When a version was made, by its name (``20261123-221530-3f2a91``); None for a name that does not say it."""
    try:
        return datetime.strptime(version[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def retirable(versions: Sequence[str], needed: Sequence[str], now: datetime, *, days: int, keep: int) -> list[str]:
    """The versions that are older than ``days``, none of the ``keep`` newest, and not ``needed``; the oldest first.

    A version whose name does not say when it was made stays.
    """
    ordered = sorted(versions)
    newest = ordered[-keep:] if keep else []
    limit = now - timedelta(days=days)
    old = [version for version in ordered if (made := made_at(version)) is not None and made < limit]
    return [version for version in old if version not in needed and version not in newest]
