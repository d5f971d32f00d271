"""Where the attempts suite runs: the stand-in, or a cluster of ``KUBECONFIG`` with the image ``F1_TEST_IMAGE``."""

from __future__ import annotations

import json
import os
import textwrap
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config

from composer.local.kubernetes.testing import running_kubernetes
from f1_training.core.plan import RunIdentity, RunPlan, plan_runs
from f1_training.core.specs import training_spec
from f1_training.kubernetes.certificates import Certificates
from f1_training.kubernetes.client import Cluster
from f1_training.kubernetes.follow import JobFollower
from f1_training.kubernetes.manifests import Bundle, Manifest, training_bundle
from f1_training.kubernetes.names import OURS, AttemptRef, Purpose, attempt_ref
from f1_training.kubernetes.settings import job_settings
from f1_training.kubernetes.status import JobStatus, job_status
from tests.fakes.run_plan import RUN, settings, training_snapshot
from tests.waiting import eventually
from trainer.contract import Catalogue, FailureReason, Outcome, read_catalogue
from trainer.contract.resources import Resources

#: A cluster pulls images and starts nodes.
STAND_IN_S, CLUSTER_S = 20.0, 300.0
SMALL = Resources(cpu="50m", memory="64Mi", disk="64Mi")
CERTIFICATES = Certificates(ca="the CA", certificate="the certificate", key="the key")
#: A worker, or a chief, that does nothing until it is told to stop.
FOREVER = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    print('{"message": "up"}', flush=True)
    while True: time.sleep(0.1)
"""


def ends(code: int) -> str:
    """A program that ends with ``code`` and without a word."""
    return f"import os; os._exit({code})"


def says(reason: FailureReason | None, job_id: str, code: int) -> str:
    """A program that leaves ``reason`` where its pod's end is looked up, and ends with ``code``."""
    word = Outcome(job_id=job_id, reason=reason, message="as it says", last_round=0 if reason else 60).to_json()
    return f"""
        import os, pathlib
        pathlib.Path(os.environ["TRAINING_TERMINATION_LOG"]).write_text({word!r})
        os._exit({code})
    """


@dataclass(frozen=True)
class Place:
    """A cluster, asked through the product's own client and, for what only tests do, the official one."""

    cluster: Cluster
    core: client.CoreV1Api
    batch: client.BatchV1Api
    namespace: str
    image: str
    stand_in: bool

    def eventually(self, look: Callable[[], Any], what: str) -> Any:
        """What ``look`` finds, once it finds something."""
        within_s, every_s = (STAND_IN_S, 0.05) if self.stand_in else (CLUSTER_S, 1.0)
        return eventually(look, what, within_s, every_s)

    def attempt(self, workers: int = 2) -> Attempt:
        """A new attempt, of which nothing is there yet."""
        run = RunIdentity(dag_id="f1_training", run_id=f"test-{uuid.uuid4().hex}", at=RUN.at)
        resources = {"resources": SMALL, "chief_resources": SMALL}
        entry = replace(read_catalogue().entries["tire_degradation"], **resources)
        deployed = settings(namespace=self.namespace, image=self.image)
        params = {"model_type": "tire_degradation", "num_workers": workers}
        plan = plan_runs(params, deployed, run, Catalogue(entries={"tire_degradation": entry}), "0.1.0")[0]
        return Attempt(self, plan)

    def left(self, job_id: str) -> list[str]:
        """Names of all objects of the run that are there."""
        lists = (
            self.batch.list_namespaced_job,
            self.core.list_namespaced_pod,
            self.core.list_namespaced_service,
            self.core.list_namespaced_secret,
        )
        selector = f"{OURS},f1-training/job-id={job_id}"
        return [i.metadata.name for each in lists for i in each(self.namespace, label_selector=selector).items]


@dataclass
class Attempt:
    """The first attempt of one run, whose pods run small programs in the trainer's place."""

    place: Place
    plan: RunPlan

    @property
    def job_id(self) -> str:
        """The run's."""
        return self.plan.job_id

    @property
    def ref(self) -> AttemptRef:
        """What finds its objects."""
        return attempt_ref(self.job_id, Purpose.TRAIN, 1, self.place.namespace, self.plan.num_workers)

    def bundle(self, chief: str = FOREVER, worker: str = FOREVER, **pod: Any) -> Bundle:
        """Our own manifests with other commands; ``pod`` changes the pods' specifications."""
        spec = training_spec(self.plan, training_snapshot(self.plan), 1)
        made = training_bundle(spec, job_settings(self.plan, Purpose.TRAIN, 1), CERTIFICATES)
        owned = tuple(_with(m, worker, pod) if m["kind"] == "Job" else m for m in made.owned)
        return replace(made, main=_with(made.main, chief, pod), owned=owned)

    def submit(self, chief: str = FOREVER, worker: str = FOREVER, **pod: Any) -> None:
        """Start it."""
        self.place.cluster.submit(self.bundle(chief, worker, **pod))

    def status(self, grace_s: float = 600.0) -> JobStatus:
        """Where it is."""
        return job_status(self.place.cluster.observe(self.ref), self.job_id, datetime.now(UTC), grace_s)

    def ended(self) -> JobStatus:
        """How it ended, once it has."""
        place = self.place
        return place.eventually(lambda: s if (s := self.status()).ended else None, "the attempt ends")  # type: ignore[no-any-return]

    def reason(self) -> FailureReason | None:
        """Why it failed, once it has."""
        outcome = self.ended().outcome
        assert outcome is not None
        return outcome.reason

    def follower(self) -> JobFollower:
        """Somebody who follows it."""
        return JobFollower(cluster=self.place.cluster, ref=self.ref, grace_s=600)

    def pods(self, role: str, index: int | None = None) -> list[client.V1Pod]:
        """Its pods of ``role``, the oldest first."""
        selector = f"{self.ref.selector},app.kubernetes.io/component={role}"
        if index is not None:
            selector += f",batch.kubernetes.io/job-completion-index={index}"
        found = self.place.core.list_namespaced_pod(self.place.namespace, label_selector=selector).items
        return sorted(found, key=lambda p: (p.metadata.creation_timestamp, p.metadata.name))

    def running(self, role: str, index: int | None = None, but: str = "") -> client.V1Pod:
        """A pod of ``role`` that runs, and is not the one named ``but``."""

        def look() -> client.V1Pod | None:
            for pod in self.pods(role, index):
                if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp and pod.metadata.name != but:
                    return pod
            return None

        return self.place.eventually(look, f"a {role} runs")

    def delete(self) -> None:
        """End it, and whatever it owns."""
        self.place.cluster.delete(self.place.namespace, self.ref.job)


def _with(job: Manifest, program: str, changes: dict[str, Any]) -> Manifest:
    made: Manifest = json.loads(json.dumps(job))
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["command"] = ["python", "-c", textwrap.dedent(program)]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        container.pop(probe, None)  # what asks the trainer
    pod["terminationGracePeriodSeconds"] = 5
    # How often the index failed before, as the Job controller notes it.
    field = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"}}
    container["env"].append({"name": "FAILURES", "valueFrom": field})
    container["image"] = changes.get("image", container["image"])
    pod |= {name: value for name, value in changes.items() if name != "image"}
    return made


@contextmanager
def place_to_test(folder: Path) -> Iterator[Place]:
    """The cluster that the environment names, in a namespace of its own; else the stand-in."""
    image = os.environ.get("F1_TEST_IMAGE")
    if image:
        api = config.new_client_from_config(os.environ["KUBECONFIG"])
        core = client.CoreV1Api(api)
        namespace = f"f1-test-{uuid.uuid4().hex[:8]}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        core.create_namespace({"metadata": {"name": namespace, "labels": labels}})
        try:
            yield Place(Cluster(api), core, client.BatchV1Api(api), namespace, image, stand_in=False)
        finally:
            core.delete_namespace(namespace)
        return
    with running_kubernetes(folder, "--nodes", "2", "--job-backoff-s", "0.2") as running:
        api = config.new_client_from_config(running.kubeconfig)
        yield Place(
            Cluster(api), client.CoreV1Api(api), client.BatchV1Api(api), "f1-training", "trainer:1", stand_in=True
        )
