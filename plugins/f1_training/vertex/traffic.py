"""Who gets how many of an endpoint's requests: pure functions."""

from __future__ import annotations

from collections.abc import Mapping

#: What a request to deploy calls the deployment that it is about to make.
NEW = "0"


def shares(traffic: Mapping[str, int], deployed: str, percent: int) -> dict[str, int]:
    """The percentage of each deployment once ``deployed`` gets ``percent`` of the requests.

    The rest stays with the one that has most of them now, so at most two versions are served. Where there is no other
    one it gets all, and a share that is larger already, because a person raised it, stays.

    Args:
        traffic: the percentages now, by the deployment's id.
        deployed: the id of the deployment, :data:`NEW` for one that is only being made.
        percent: what it is to get, 1 to 100.
    """
    wanted = max(percent, traffic.get(deployed, 0))
    others = {other: share for other, share in traffic.items() if other != deployed and share > 0}
    if not others or wanted == 100:
        return {deployed: 100}
    before = max(others, key=lambda other: (others[other], other))
    return {before: 100 - wanted, deployed: wanted}
