"""What every pod of a job is told by its environment, read once and checked; errors name the variable.

| Variable | Meaning | Default |
|---|---|---|
| ``TRAINING_JOB_ID`` | the job | the spec's |
| ``POD_IP`` | the address to listen on | ``127.0.0.1`` |
| ``COLLECTIVE_HOST`` | the address that the ranks' own connections use | ``POD_IP`` |
| ``TRAINING_HEALTH_PORT`` | port of ``/health``; 0 takes any free one | 8080 |
| ``TRAINING_CHIEF_PORT`` | port of the Dask scheduler | 8786 |
| ``TRAINING_TLS_DIR`` | folder with ca.crt, tls.crt, tls.key | none |
| ``TRAINING_CACHE_DIR`` | scratch folder for Arrow files | a folder below the system's temporary one |
| ``TRAINING_MEMORY_LIMIT`` | what training may use, as ``3Gi`` or bytes | the container's own limit |
| ``TRAINING_TERMINATION_LOG`` | file that receives the outcome | ``/dev/termination-log`` where it exists |
| ``TRAINING_ATTEMPT`` | the attempt, from 1 | 1 |
| ``TRAINING_METRICS`` | ``prometheus`` (``/metrics`` beside ``/health``), ``cloud_monitoring``, or ``a,b`` | none |
| ``GOOGLE_CLOUD_PROJECT`` | the project of Cloud Monitoring | required for that |
| ``TRAINING_METRICS_LOCATION`` | Google's location that points are kept in | ``global`` |
| ``TRAINING_METRICS_ENDPOINT`` | ``host:port`` in place of Cloud Monitoring, without encryption | Google's |
| ``POD_NAMESPACE`` | the label ``namespace`` of points in Cloud Monitoring | ``f1-training`` |
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.contract import ContractError, FailureReason, TrainingFailure
from trainer.contract.metrics import Exporter, exporters

TERMINATION_LOG = Path("/dev/termination-log")
SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsEnvironment:
    """Where metrics go; nowhere by default."""

    exporters: tuple[Exporter, ...] = ()
    project: str = ""
    location: str = "global"
    namespace: str = "f1-training"
    endpoint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodEnvironment:
    """The variables that chief, workers and evaluation share."""

    job_id: str
    pod_ip: str
    collective_host: str
    health_port: int
    chief_port: int
    tls_dir: Path | None
    cache_dir: Path
    memory_limit_bytes: int
    termination_log: Path | None
    attempt: int = 1
    metrics: MetricsEnvironment = field(default_factory=MetricsEnvironment)


def read_environment(environ: Mapping[str, str] = os.environ) -> PodEnvironment:
    """The pod's environment.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the variable that is wrong.
    """
    pod_ip = environ.get("POD_IP") or "127.0.0.1"
    tls_dir = environ.get("TRAINING_TLS_DIR")
    cache_dir = environ.get("TRAINING_CACHE_DIR")
    log = environ.get("TRAINING_TERMINATION_LOG")
    default_log = TERMINATION_LOG if TERMINATION_LOG.exists() and os.access(TERMINATION_LOG, os.W_OK) else None
    return PodEnvironment(
        job_id=environ.get("TRAINING_JOB_ID", ""),
        pod_ip=pod_ip,
        collective_host=environ.get("COLLECTIVE_HOST") or pod_ip,
        health_port=read_int(environ, "TRAINING_HEALTH_PORT", 8080, least=0),
        chief_port=read_int(environ, "TRAINING_CHIEF_PORT", 8786, least=0),
        tls_dir=Path(tls_dir) if tls_dir else None,
        cache_dir=Path(cache_dir) if cache_dir else Path(tempfile.gettempdir()) / "f1-training",
        memory_limit_bytes=read_bytes(environ, "TRAINING_MEMORY_LIMIT"),
        termination_log=Path(log) if log else default_log,
        attempt=read_int(environ, "TRAINING_ATTEMPT", 1, least=1),
        metrics=_metrics(environ),
    )


def _metrics(environ: Mapping[str, str]) -> MetricsEnvironment:
    try:
        chosen = exporters(environ.get("TRAINING_METRICS", ""))
    except ContractError as e:
        raise config_error(f"TRAINING_METRICS: {e}") from e
    project = environ.get("GOOGLE_CLOUD_PROJECT", "")
    if Exporter.CLOUD_MONITORING in chosen and not project:
        raise config_error("GOOGLE_CLOUD_PROJECT is not set; TRAINING_METRICS=cloud_monitoring writes to that project")
    return MetricsEnvironment(
        exporters=chosen,
        project=project,
        location=environ.get("TRAINING_METRICS_LOCATION") or "global",
        namespace=environ.get("POD_NAMESPACE") or "f1-training",
        endpoint=environ.get("TRAINING_METRICS_ENDPOINT", ""),
    )


def read_int(environ: Mapping[str, str], name: str, default: int | None = None, *, least: int = 0) -> int:
    """Variable ``name`` as an integer of at least ``least``; ``default`` None demands it."""
    text = environ.get(name, "")
    if not text and default is not None:
        return default
    if not text.lstrip("-").isdigit() or int(text) < least:
        raise config_error(f"{name} is {text!r}; expected an integer of at least {least}")
    return int(text)


def read_bytes(environ: Mapping[str, str], name: str) -> int:
    """Variable ``name`` as bytes, from a number or a Kubernetes quantity such as ``3Gi``; 0 when it is not set."""
    text = environ.get(name, "").strip()
    if not text:
        return 0
    suffix = next((s for s in SUFFIXES if text.endswith(s)), "")
    digits = text.removesuffix(suffix)
    try:
        return int(float(digits) * SUFFIXES.get(suffix, 1))
    except ValueError as e:
        raise config_error(f"{name} is {text!r}; expected bytes or a quantity such as 3Gi") from e


def config_error(message: str) -> TrainingFailure:
    """A failure that no retry mends: what the pod was told is wrong."""
    return TrainingFailure(FailureReason.CONFIG_INVALID, message)
