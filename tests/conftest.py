"""A guard over the whole suite, and what it begins with."""

from __future__ import annotations

import pytest

#: It takes the longest and mostly waits: begun last, it would leave the other workers without anything to do.
FIRST = ("integration", "test_up.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file. Refuse parameters from a set: each of xdist's workers would have an order of its own."""
    items.sort(key=lambda item: item.path.parts[-2:] != FIRST)
    for item in items:
        for mark in item.iter_markers("parametrize"):
            if len(mark.args) > 1 and isinstance(mark.args[1], set | frozenset):
                raise pytest.UsageError(f"{item.nodeid} is parametrized over a set, whose order changes; give a list")
