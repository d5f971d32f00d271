"""What the manifests of one attempt need to know beside the spec: names, images, resources, placement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from f1_training.core.costs import Budget
from f1_training.core.plan import RunPlan
from f1_training.core.settings import MetricsSettings, Spot
from f1_training.kubernetes.names import JobNames, Purpose
from trainer.contract import Device
from trainer.contract.fields import require
from trainer.contract.resources import Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSettings:
    """One attempt. ``environment`` is added to every pod; ``attempt`` counts from 1."""

    names: JobNames
    attempt: int
    dag_id: str
    run_id: str
    project: str
    image: str
    evaluator_image: str
    chief_resources: Resources
    worker_resources: Resources
    package_version: str
    device: Device = Device.CPU
    service_account: str = ""
    evaluator_service_account: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    collective_host: str | None = None
    machine_type_label: str = ""
    chief_node_selector: Mapping[str, str] = field(default_factory=dict)
    worker_node_selector: Mapping[str, str] = field(default_factory=dict)
    worker_spot: Spot = Spot.NEVER
    chief_priority_class: str = ""
    worker_priority_class: str = ""
    gpu_accelerator: str = ""
    queue: str = ""
    budget: Budget = Budget.AD_HOC
    deadline_s: int = 86_400
    ttl_s: int = 86_400
    model_type: str = ""
    metrics: MetricsSettings = field(default_factory=MetricsSettings)

    def __post_init__(self) -> None:
        require(self.attempt >= 1, "attempt", f"is {self.attempt}; 1 or more")


def job_settings(plan: RunPlan, purpose: Purpose, attempt: int) -> JobSettings:
    """The settings of attempt ``attempt`` at ``purpose``."""
    deployed = plan.settings
    return JobSettings(
        names=JobNames.of(plan.job_id, purpose, attempt, deployed.namespace),
        attempt=attempt,
        dag_id=plan.dag_id,
        run_id=plan.run_id,
        project=deployed.project,
        image=deployed.image,
        evaluator_image=deployed.image_for_evaluation(),
        chief_resources=plan.entry.chief_resources,
        worker_resources=plan.entry.resources,
        package_version=plan.package_version,
        device=plan.device,
        service_account=deployed.service_account,
        evaluator_service_account=deployed.account_for_evaluation(),
        environment=deployed.pod_environment,
        collective_host=deployed.collective_host,
        machine_type_label=deployed.machine_type_label,
        chief_node_selector=deployed.chief_node_selector,
        worker_node_selector=deployed.worker_node_selector,
        worker_spot=deployed.worker_spot,
        chief_priority_class=deployed.chief_priority_class,
        worker_priority_class=deployed.worker_priority_class,
        gpu_accelerator=deployed.gpu_accelerator,
        queue=deployed.queue,
        budget=plan.budget,
        deadline_s=deployed.deadline_s,
        ttl_s=deployed.ttl_s,
        model_type=plan.model_type,
        metrics=deployed.metrics,
    )
