"""Which files of a run's checkpoints nobody needs any more: a pure rule over names, markers and manifests.

Checkpoints are incremental, so a manifest needs the segment files of all rounds before it, and what goes are mostly
manifests: those below the newest few, whatever chiefs left that were superseded, and segments of commits that were
never finished. Markers of epochs stay for ever: they are small, and they tell a chief that was cut off that it was
superseded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from trainer.contract import Manifest
from trainer.contract.chain import MANIFEST_NAME, Candidate, Epoch, candidates

SEGMENT_NAME = re.compile(r"epochs/(\d{6})/rounds/(\d{8})/segment\.\w+")


def removable(
    names: Collection[str],
    markers: Mapping[int, Epoch | None],
    manifest_of: Callable[[str], Manifest | None],
    keep: int,
) -> list[str]:
    """The names to remove, in an order in which no manifest that is left ever misses a file.

    The newest ``keep`` whole checkpoints on the chain of the highest epoch stay, with every file that they name, and
    so does any newer one that is not whole: a person may want to see it. While the run is not finished, nothing else
    goes than manifests below those.

    Args:
        names: every name below the checkpoints' URI.
        markers: the marker of each epoch; None for one that cannot be read.
        manifest_of: reads the manifest of a name; None when it cannot be read.
        keep: how many checkpoints to keep, 1 or more.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; a run needs its newest checkpoint")
    chain, there = candidates(names, markers), set(names)
    kept: list[Manifest] = []
    stay: set[str] = set()
    for candidate in chain:
        if len(kept) == keep:
            break
        stay.add(candidate.name)
        manifest = manifest_of(candidate.name)
        if manifest is not None and _is_whole(manifest, candidate, there):
            kept.append(manifest)
    if not kept:
        return []
    if not kept[0].finished or None in markers.values():
        return sorted({c.name for c in chain} - stay)
    highest = max(markers)
    manifests = {m[0] for m in map(MANIFEST_NAME.fullmatch, names) if m and int(m[1]) <= highest}
    named = {part.file for manifest in kept for part in manifest.segments}
    # In the highest epoch a segment after the newest commit is one whose own commit is on its way.
    segments = {
        m[0]
        for m in map(SEGMENT_NAME.fullmatch, names)
        if m and (int(m[1]) < highest or (int(m[1]) == highest and int(m[2]) <= kept[0].round))
    }
    return sorted(manifests - stay) + sorted(segments - named)


def _is_whole(manifest: Manifest, candidate: Candidate, there: Collection[str]) -> bool:
    described = (manifest.epoch, manifest.round) == (candidate.epoch, candidate.round)
    return described and all(part.file in there for part in manifest.segments)
