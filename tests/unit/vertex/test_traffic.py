"""Two versions at most share an endpoint's requests, and a retry changes nothing."""

import pytest

from f1_training.vertex.traffic import NEW, shares


@pytest.mark.parametrize(
    ("traffic", "deployed", "percent", "wanted"),
    [
        ({}, NEW, 100, {NEW: 100}),
        # The first version is alone, whatever share a new one would get.
        ({}, NEW, 10, {NEW: 100}),
        ({"1": 100}, NEW, 100, {NEW: 100}),
        ({"1": 100}, NEW, 10, {"1": 90, NEW: 10}),
        # The rest goes to the one that has most, not to an earlier candidate.
        ({"1": 90, "2": 10}, NEW, 20, {"1": 80, NEW: 20}),
        ({"1": 50, "2": 50}, NEW, 20, {"2": 80, NEW: 20}),
        # Again, after it was deployed.
        ({"1": 90, "3": 10}, "3", 10, {"1": 90, "3": 10}),
        ({"1": 90, "3": 10}, "3", 100, {"3": 100}),
        # What a person raised stays.
        ({"1": 40, "3": 60}, "3", 10, {"1": 40, "3": 60}),
        ({"3": 100}, "3", 10, {"3": 100}),
        # Taken back by a person, and deployed again.
        ({"1": 100}, "3", 10, {"1": 90, "3": 10}),
    ],
)
def test_shares(traffic: dict[str, int], deployed: str, percent: int, wanted: dict[str, int]) -> None:
    assert shares(traffic, deployed, percent) == wanted
