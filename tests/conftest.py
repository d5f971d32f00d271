"""A guard over the whole suite."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse parameters from a set: each of xdist's workers would collect them in an order of its own."""
    for item in items:
        for mark in item.iter_markers("parametrize"):
            if len(mark.args) > 1 and isinstance(mark.args[1], set | frozenset):
                raise pytest.UsageError(f"{item.nodeid} is parametrized over a set, whose order changes; give a list")
