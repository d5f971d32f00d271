"""What a worker is told by its environment, on top of :mod:`trainer.environment`.

| Variable | Meaning | Default |
|---|---|---|
| ``WORKER_INDEX`` | 0 to ``TOTAL_WORKERS`` - 1; in an Indexed Job ``JOB_COMPLETION_INDEX`` says the same | required |
| ``TOTAL_WORKERS`` | number of workers | required |
| ``TRAINING_CHIEF_ADDRESS`` | ``host:port`` of the Dask scheduler | required |
| ``TRAINING_CHIEF_WAIT_S`` | how long to wait for the chief to come up | 600 |
| ``TRAINING_RECONNECT_S`` | how long to look for a chief that was lost | 900 |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.environment import PodEnvironment, config_error, read_environment, read_int

#: Worker names have this many digits, so that sorted as text they are in order.
NAME_DIGITS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """One worker of one job."""

    pod: PodEnvironment
    index: int
    total: int
    chief_host: str
    chief_port: int
    chief_wait_s: int
    reconnect_s: int

    @property
    def name(self) -> str:
        """The worker's name for Dask: its index, zero-padded."""
        return f"{self.index:0{NAME_DIGITS}d}"


def read_settings(environ: Mapping[str, str]) -> WorkerSettings:
    """The worker's settings.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the variable that is wrong or missing.
    """
    pod = read_environment(environ)
    variable = "WORKER_INDEX" if environ.get("WORKER_INDEX") else "JOB_COMPLETION_INDEX"
    if not environ.get(variable):
        raise config_error("WORKER_INDEX is not set; it says which worker of the job this is, from 0")
    index, total = read_int(environ, variable), read_int(environ, "TOTAL_WORKERS", least=1)
    if index >= total:
        raise config_error(f"{variable} is {index} with TOTAL_WORKERS {total}; expected 0 to {total - 1}")
    address = environ.get("TRAINING_CHIEF_ADDRESS", "")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise config_error(f"TRAINING_CHIEF_ADDRESS is {address!r}; expected host:port")
    return WorkerSettings(
        pod=pod,
        index=index,
        total=total,
        chief_host=host,
        chief_port=int(port),
        chief_wait_s=read_int(environ, "TRAINING_CHIEF_WAIT_S", 600, least=1),
        reconnect_s=read_int(environ, "TRAINING_RECONNECT_S", 900, least=0),
    )
