"""What one deployment looks like: :class:`Settings`, read from one Airflow Variable when a run is planned."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from f1_training.core.costs import CostSettings
from f1_training.core.retry import RetrySettings, Team
from f1_training.core.vertex import VertexSettings
from trainer.contract import ContractError, FailureReason, TrainingFailure
from trainer.contract.fields import decode, require
from trainer.contract.metrics import Exporter

VARIABLE = "f1_training"
#: Airflow's pool of the tasks that run a job in Kubernetes. It must count deferred tasks: its slots are jobs that run.
POOL = "f1_training"
EXAMPLE = (
    '{"project": "my-project", "image": "europe-west4-docker.pkg.dev/my-project/f1/training-worker:0.1.0", '
    '"uris": {"checkpoints": "gs://my-checkpoints", "artifacts": "gs://my-artifacts", "models": "gs://my-models"}}'
)

PROJECT = re.compile(r"[a-z][a-z0-9.:-]{1,61}[a-z0-9]")
DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
RESERVATION = re.compile(r"projects/[^/]+/locations/[^/]+/reservations/[^/]+")
SPOT_LABEL = "cloud.google.com/gke-spot"
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IMAGE = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:\w[\w.-]{0,127})?", re.ASCII)
OWNERS = "owners"
ROUTES = (*(team.value for team in Team if team.value), OWNERS)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Spot(enum.StrEnum):
    """Whether workers run on Spot nodes: cheaper, and taken away at 25 seconds' notice."""

    NEVER = "never"
    PREFERRED = "preferred"
    REQUIRED = "required"


@dataclass(frozen=True, kw_only=True, slots=True)
class Datasets:
    """BigQuery datasets. ``raw`` holds tables as they came, ``strategy`` those that models are trained on, made of them
    by way of ``candidates``. Snapshots for training and for evaluation are written to ``staging`` and ``evaluation``.

    Training reads ``staging`` only, so an account of its own need not see a test row. The evaluation reads both: test
    rows from ``evaluation``, and from ``staging`` rows to fit the linear baseline on.
    """

    raw: str = "f1_raw"
    candidates: str = "f1_candidates"
    strategy: str = "f1_strategy"
    staging: str = "f1_staging"
    evaluation: str = "f1_evaluation"

    def __post_init__(self) -> None:
        names = ("raw", "candidates", "strategy", "staging", "evaluation")
        for name in names:
            require(bool(DATASET.fullmatch(getattr(self, name))), name, f"is {getattr(self, name)!r}; a dataset's name")
        require(len({getattr(self, name) for name in names}) == len(names), "staging", "the datasets must differ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Uris:
    """Where objects go: ``gs://bucket/folder`` on Google Cloud, ``file:///folder`` on one machine."""

    checkpoints: str
    artifacts: str
    models: str

    def __post_init__(self) -> None:
        for name in ("checkpoints", "artifacts", "models"):
            uri = getattr(self, name)
            require("://" in uri, name, f"is {uri!r}; expected a URI such as gs://bucket/folder")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """What DAG ``f1_data`` reads: files below ``landing``, a folder or a bucket's prefix.

    Seasons from ``validation_season`` on are validation rows, from ``test_season`` on test rows, earlier ones are
    trained on. Without them the column ``split`` of the laps counts where it is filled, else the newest season is the
    test and the one before it the validation. ``reservation`` is BigQuery's (``projects/p/locations/l/reservations/r``)
    that ingest, process and checks run in, so that they take no slots from anybody else. ``fastf1_python`` is the
    interpreter of an environment with FastF1, where Airflow's own does not have it. With ``simulate_car_laps`` what no
    public feed has (fuel burnt, brake bias) is simulated for laps that come without; see ``data/car_simulator.py``.
    """

    landing: str = ""
    validation_season: int | None = None
    test_season: int | None = None
    reservation: str = ""
    fastf1_python: str = ""
    simulate_car_laps: bool = True

    def __post_init__(self) -> None:
        require(not self.landing or "://" in self.landing, "landing", f"is {self.landing!r}; a URI such as gs://b/laps")
        first, second = self.validation_season, self.test_season
        both = (first is None) == (second is None)
        require(both, "test_season", "and validation_season are given together, or neither")
        if first is not None and second is not None:
            require(first < second, "test_season", f"is {second}; after validation_season {first}")
        fits = not self.reservation or bool(RESERVATION.fullmatch(self.reservation))
        require(fits, "reservation", f"is {self.reservation!r}; projects/P/locations/L/reservations/R")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingSettings:
    """Prediction servers (``python -m trainer.serve``) by model type, such as ``http://tire-degradation:8080``.

    A run waits ``within_s`` for a server to serve what it has promoted. Models without a server are only registered.
    """

    urls: Mapping[str, str] = field(default_factory=dict)
    health_route: str = "/health"
    predict_route: str = "/predict"
    within_s: float = 120.0

    def __post_init__(self) -> None:
        for name, url in self.urls.items():
            fits = url.startswith(("http://", "https://"))
            require(fits, f"urls.{name}", f"is {url!r}; such as http://tire-degradation:8080")
        require(self.within_s > 0, "within_s", f"is {self.within_s}; more than 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsSettings:
    """Where metrics of training go: ``prometheus`` (each pod serves them), ``cloud_monitoring``, both, or nowhere.

    ``location`` is Google's that points are kept in. ``endpoint`` (plain ``host:port``) takes Cloud Monitoring's place.
    """

    exporters: tuple[Exporter, ...] = ()
    location: str = "global"
    endpoint: str = ""

    def __post_init__(self) -> None:
        fits = bool(DNS_LABEL.fullmatch(self.location))
        require(fits, "location", f"is {self.location!r}; global, or a region such as europe-west4")


class ChannelKind(enum.StrEnum):
    """How people are reached."""

    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    EMAIL = "email"


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One way to reach people: the Airflow connection ``conn_id``; an e-mail goes ``to`` these addresses."""

    kind: ChannelKind
    conn_id: str
    to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.conn_id), "conn_id", "is empty; the id of an Airflow connection")
        mail = self.kind is ChannelKind.EMAIL
        require(mail == bool(self.to), "to", "is for e-mail, and needed there: a list of addresses")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertSettings:
    """Who is told: channels by team (``data``, ``ml``, ``on-call``); ``owners`` hear of whatever has no team or route.

    The same failure of the same task is told again after ``repeat_after_s`` at the earliest. Without channels, alerts
    are kept below ``<artifacts>/_alerts/outbox``.
    """

    routes: Mapping[str, tuple[Channel, ...]] = field(default_factory=dict)
    repeat_after_s: float = 3600.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.routes) - set(ROUTES))
        require(not unknown, "routes", f"names {', '.join(unknown)}; teams are {', '.join(ROUTES)}")
        require(self.repeat_after_s >= 0, "repeat_after_s", f"is {self.repeat_after_s}; 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One deployment. Only ``project``, ``image`` and ``uris`` have no default.

    ``pod_environment`` is added to every pod; ``collective_host`` is the address that the ranks' own connections use,
    by default the pod's. ``threads`` is per worker; by default as many as its CPU request. ``machine_type_label`` is
    the node label that a model's machine type selects nodes by; empty where nodes have no such label. Workers, never
    the chief, run on Spot nodes as ``worker_spot`` says; ``gpu_accelerator`` is the GPUs' kind (``nvidia-tesla-t4``).
    ``queue`` is a Kueue LocalQueue. A job that is not over within ``defer_after_s`` is handed to the triggerer. The
    newest ``checkpoints_kept`` checkpoints of a run that succeeded stay. Versions of a model are kept for
    ``models_kept_days``, and longer: the newest ``models_kept``, the champion, and the one that it replaced.
    ``heartbeat_s``, ``regroup_grace_s`` (0: the survivors go on at once) and ``partition_s`` are the limits of
    :class:`trainer.contract.Limits`. ``retry`` says how often an attempt is made again, ``alerts`` who is told when it
    is not, ``data`` where laps come from, ``serving`` which servers predict, ``vertex`` what Vertex AI gets,
    ``metrics`` where metrics go, ``costs`` what training may cost. Pods are the Kubernetes account ``service_account``;
    evaluations, which see test rows, are ``evaluator_service_account`` where it is given.
    """

    project: str
    image: str
    uris: Uris
    location: str = "US"
    datasets: Datasets = field(default_factory=Datasets)
    evaluator_image: str = ""
    namespace: str = "f1-training"
    service_account: str = ""
    evaluator_service_account: str = ""
    gcp_conn_id: str = "google_cloud_default"
    kubernetes_conn_id: str = "kubernetes_default"
    pod_environment: Mapping[str, str] = field(default_factory=dict)
    collective_host: str | None = None
    threads: int | None = None
    machine_type_label: str = ""
    chief_node_selector: Mapping[str, str] = field(default_factory=dict)
    worker_node_selector: Mapping[str, str] = field(default_factory=dict)
    worker_spot: Spot = Spot.NEVER
    chief_priority_class: str = ""
    worker_priority_class: str = ""
    gpu_accelerator: str = ""
    queue: str = ""
    poll_interval_s: float = 15.0
    defer_after_s: float = 30.0
    scale_up_grace_s: float = 600.0
    heartbeat_s: float = 25.0
    regroup_grace_s: float = 300.0
    partition_s: float = 900.0
    deadline_s: int = 86_400
    ttl_s: int = 86_400
    maximum_bytes_billed: int | None = None
    snapshot_days: int = 7
    checkpoints_kept: int = 3
    models_kept: int = 5
    models_kept_days: int = 90
    data: DataSettings = field(default_factory=DataSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    vertex: VertexSettings = field(default_factory=VertexSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    costs: CostSettings = field(default_factory=CostSettings)

    def __post_init__(self) -> None:
        require(bool(PROJECT.fullmatch(self.project)), "project", f"is {self.project!r}; a Google Cloud project id")
        require(bool(self.image), "image", "is empty; the training image's address")
        for name in ("image", "evaluator_image"):
            _require_traceable(name, getattr(self, name))
        _require_traceable("vertex.serving_image", self.vertex.serving_image)
        readable = not self.vertex.region or self.uris.models.startswith("gs://")
        require(readable, "uris.models", f"is {self.uris.models!r}; Vertex AI (vertex.region) reads gs:// only")
        for name in ("namespace", "service_account", "evaluator_service_account", "queue"):
            value = getattr(self, name)
            fits = bool(DNS_LABEL.fullmatch(value)) or (not value and name != "namespace")
            require(fits, name, f"is {value!r}; lower case letters, digits and -")
        for name in ("chief_priority_class", "worker_priority_class"):
            value = getattr(self, name)
            require(not value or bool(DNS_LABEL.fullmatch(value)), name, f"is {value!r}; a PriorityClass' name")
        for name in ("chief_node_selector", "worker_node_selector"):
            wrong = SPOT_LABEL in getattr(self, name)
            require(not wrong, name, f"holds {SPOT_LABEL}; say worker_spot: required or preferred instead")
        for name in self.pod_environment:
            require(bool(ENVIRONMENT_NAME.fullmatch(name)), "pod_environment", f"{name!r} names no variable")
        for name in ("poll_interval_s", "scale_up_grace_s", "heartbeat_s", "partition_s", "deadline_s", "ttl_s"):
            require(getattr(self, name) > 0, name, f"is {getattr(self, name)}; more than 0")
        require(self.snapshot_days >= 1, "snapshot_days", f"is {self.snapshot_days}; 1 or more")
        for name in ("defer_after_s", "regroup_grace_s"):
            require(getattr(self, name) >= 0, name, f"is {getattr(self, name)}; 0 or more")
        require(self.checkpoints_kept >= 1, "checkpoints_kept", f"is {self.checkpoints_kept}; 1 or more")
        for name in ("models_kept", "models_kept_days"):
            require(getattr(self, name) >= 1, name, f"is {getattr(self, name)}; 1 or more")
        require(self.threads is None or 1 <= self.threads <= 256, "threads", f"is {self.threads}; 1 to 256")
        limit = self.maximum_bytes_billed
        require(limit is None or limit >= 1, "maximum_bytes_billed", f"is {limit}; 1 or more")

    def image_for_evaluation(self) -> str:
        """The evaluator's image: the training image unless another is configured."""
        return self.evaluator_image or self.image

    def account_for_evaluation(self) -> str:
        """The evaluations' Kubernetes account: the trainer's unless another is configured."""
        return self.evaluator_service_account or self.service_account


def _require_traceable(name: str, image: str) -> None:
    """An image must stay the one that was tested, whatever is pushed later."""
    if not image:
        return
    address, at, digest = image.partition("@")
    require(bool(IMAGE.fullmatch(address)), name, f"is {image!r}; expected an address such as host/project/name:1.2.3")
    tag = address.rpartition("/")[2].partition(":")[2]
    if at:
        require(bool(DIGEST.fullmatch(digest)), name, f"is {image!r}; a digest is sha256: and 64 hexadecimal digits")
    else:
        fix = "give its digest (name@sha256:...), or at least a version as its tag"
        require(tag not in ("", "latest"), name, f"is {image!r}, which may be another image tomorrow; {fix}")


def read_settings(variable: Any) -> Settings:
    """The settings in ``variable``, the deserialised Airflow Variable ``f1_training``; None when there is none.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the Variable, the field and the fix.
    """
    if variable is None:
        message = (
            f"the Airflow Variable {VARIABLE!r} does not exist; create it (Admin > Variables, or "
            f"`airflow variables set`) with JSON such as {EXAMPLE}"
        )
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    try:
        return decode(Settings, variable, "")
    except ContractError as e:
        message = f"the Airflow Variable {VARIABLE!r} is wrong: {e}; an example: {EXAMPLE}"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
