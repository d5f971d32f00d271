"""A guard over the whole suite, and the order in which it begins."""

from __future__ import annotations

import pytest

#: Files that take minutes and wait for most of them, each with a stack of its own: what else there is runs beside them.
FIRST = ("integration/test_up.py", "integration/test_gate.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, the rest in the order of folders, which is roughly from slow to quick.

    Parameters from a set are refused: each of xdist's workers would collect them in an order of its own.
    """

    def place(item: pytest.Item) -> int:
        name = "/".join(item.path.parts[-2:])
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=place)
    for item in items:
        for mark in item.iter_markers("parametrize"):
            if len(mark.args) > 1 and isinstance(mark.args[1], set | frozenset):
                raise pytest.UsageError(f"{item.nodeid} is parametrized over a set, whose order changes; give a list")
