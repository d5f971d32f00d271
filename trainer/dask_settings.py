"""Settings of Dask that its processes share, in the chief and in the workers."""

from __future__ import annotations

from collections.abc import Mapping

#: Dask looks at its own processes 20 to 100 times a second, for a dashboard that nobody serves here. Training keeps all
#: cores busy and its ranks wait for each other several times a tree, so that each interruption of one is one of all.
#: See: https://distributed.dask.org/en/stable/diagnosing-performance.html#statistical-profiling
QUIET: Mapping[str, object] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}
