"""The steps that change the environment: pip's index, packages, DAGs, the Variable; and the one that verifies it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from packaging.utils import canonicalize_name

from composer import preflight
from composer.deploy.deployment import DAGS, Deployment
from composer.deploy.gcloud import CommandError, DeployError, shown
from composer.deploy.requirements import read_requirements
from composer.local.airflow_api import AirflowApiError
from f1_training.core.settings import POOL, VARIABLE
from f1_training.preflight.report import failed, table

POOL_SLOTS = 4
FOUND_S = 900.0
POLL_S = 10.0


@dataclass(frozen=True)
class PointPip:
    """The environment's pip finds the wheel's repository."""

    name: ClassVar[str] = "point the environment's pip at the repository"
    touches: ClassVar[bool] = True
    FILE: ClassVar[str] = "config/pip/pip.conf"

    def told(self, d: Deployment) -> Sequence[str]:
        return [f"unless it names {d.target.python_url}simple/: write {self.FILE} into the environment's bucket"]

    def done(self, d: Deployment, *, changed: bool) -> str:
        uri, line = f"{d.bucket_uri}/{self.FILE}", f"extra-index-url = {d.target.python_url}simple/"
        try:
            text = d.programs.look(["gcloud", "storage", "cat", uri])
        except CommandError as e:
            if e.missing:
                return ""
            raise
        if f"{d.target.python_url}simple" not in text:
            raise DeployError(f"{uri} is somebody's and does not name our repository; add to it: {line}")
        return f"{self.FILE} names it"

    def do(self, d: Deployment) -> None:
        file = d.folder / "pip.conf"
        file.write_text(f"[global]\nextra-index-url = {d.target.python_url}simple/\n", encoding="utf-8")
        d.programs.change(["gcloud", "storage", "cp", str(file), f"{d.bucket_uri}/{self.FILE}"])


@dataclass(frozen=True)
class InstallPackages:
    """The environment's PyPI packages: ours as ``requirements.txt`` has them, others as they are."""

    name: ClassVar[str] = "install the packages"
    touches: ClassVar[bool] = True

    def told(self, d: Deployment) -> Sequence[str]:
        return [
            f"with {', '.join(f'{n}{s}' for n, s in wanted_packages(d).items())}:",
            shown(update(d, "packages.txt")),
        ]

    def done(self, d: Deployment, *, changed: bool) -> str:
        has = d.packages()
        fits = all(has.get(name) == specifier for name, specifier in wanted_packages(d).items())
        return f"all {len(wanted_packages(d))} are as requirements.txt has them" if fits else ""

    def do(self, d: Deployment) -> None:
        install(d, {**d.packages(), **wanted_packages(d)})


@dataclass(frozen=True)
class SyncDags:
    """Our DAG files, in a folder of their own."""

    name: ClassVar[str] = "sync the DAGs"
    touches: ClassVar[bool] = True

    def told(self, d: Deployment) -> Sequence[str]:
        return [shown(sync(str(d.source / "dags"), f"DAGS_FOLDER/{DAGS}"))]

    def done(self, d: Deployment, *, changed: bool) -> str:
        d.check_out()
        ours = d.local_dags()
        return f"all {len(ours)} files are the same" if ours == d.remote_dags() else ""

    def do(self, d: Deployment) -> None:
        # A folder of DAG files alone: nothing else of the checkout is any of Airflow's business.
        d.programs.change(sync(str(d.source / "dags"), d.dags_uri))


@dataclass(frozen=True)
class SetVariable:
    """The settings, with the images by their digests."""

    name: ClassVar[str] = "set the images in the Variable"
    touches: ClassVar[bool] = True

    def told(self, d: Deployment) -> Sequence[str]:
        worker = "training-worker-gpu" if d.target.gpu else "training-worker"
        folder = d.target.image_folder
        values = f'"image": "{folder}/{worker}@sha256:...", "evaluator_image": "{folder}/evaluator@sha256:..."'
        return [f"{VARIABLE}: {values}", f"unless there is one: the pool {POOL} of {POOL_SLOTS} slots"]

    def done(self, d: Deployment, *, changed: bool) -> str:
        now = d.variable()
        same = bool(now) and json.loads(now) == d.wanted_settings(now)
        return "they are there by their digests" if same else ""

    def do(self, d: Deployment) -> None:
        now = d.variable()
        write_variable(d, json.dumps(d.wanted_settings(now), indent=2), exists=bool(now))
        d.api().ensure_pool(POOL, POOL_SLOTS, "jobs in Kubernetes")


@dataclass(frozen=True)
class Verify:
    """Airflow has the DAGs without an error, and ``f1_preflight`` says that it can train."""

    name: ClassVar[str] = "verify with f1_preflight"
    touches: ClassVar[bool] = True

    def told(self, d: Deployment) -> Sequence[str]:
        return ["wait until Airflow has our DAGs, without an import error", f"run the DAG {preflight.DAG_ID}"]

    def done(self, d: Deployment, *, changed: bool) -> str:
        current = d.state().current
        if changed or current is None or current.revision != d.revision.sha or not current.verified:
            return ""
        return "it passed when this revision was deployed, and nothing has changed since"

    def do(self, d: Deployment) -> None:
        self._wait_for_dags(d)
        d.api().call("PATCH", f"/dags/{preflight.DAG_ID}?update_mask=is_paused", {"is_paused": False})
        findings = preflight.run(d.api(), {}, say=lambda line: d.say(f"  {line}"))
        d.say(table(findings))
        wrong = failed(findings)
        if wrong:
            raise DeployError(f"{len(wrong)} of {len(findings)} checks of {preflight.DAG_ID} failed")

    def _wait_for_dags(self, d: Deployment) -> None:
        end, problem = d.clock() + FOUND_S, ""
        while True:
            try:
                problem = self._problem(d)
            except AirflowApiError as e:
                problem = str(e)
            if not problem:
                return
            if d.clock() > end:
                raise DeployError(f"Airflow has not come up with our DAGs within {FOUND_S:.0f} s: {problem}")
            d.sleep(POLL_S)

    def _problem(self, d: Deployment) -> str:
        api = d.api()
        errors = api.call("GET", "/importErrors?limit=100")["import_errors"]
        ours = [e for e in errors if f"{DAGS}/" in f"/{e['filename']}"]
        if ours:
            return f"{ours[0]['filename']}: {str(ours[0]['stack_trace']).strip().splitlines()[-1]}"
        missing = []
        for name in (os.path.splitext(file)[0] for file in d.local_dags()):
            try:
                api.call("GET", f"/dags/{name}")
            except AirflowApiError as e:
                if e.status != 404:
                    raise
                missing.append(name)
        return f"it has not found {', '.join(missing)}" if missing else ""


def wanted_packages(d: Deployment) -> dict[str, str]:
    """What ``requirements.txt`` asks for, as Composer has it: specifiers, with extras before them, by name."""
    found = dict[str, str]()
    for requirement in read_requirements(d.revision.requirements):
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        found[canonicalize_name(requirement.name)] = f"{extras}{requirement.specifier}"
    return found


def install(d: Deployment, packages: dict[str, str]) -> None:
    """Give the environment exactly ``packages``, and wait until it takes changes again."""
    file = d.folder / "packages.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}{spec}\n" for name, spec in sorted(packages.items())), encoding="utf-8")
    d.wait_until_running()
    d.programs.change(update(d, str(file)))
    d.wait_until_running()


def update(d: Deployment, file: str) -> list[str]:
    """The command that gives the environment the packages of ``file``, and no others."""
    command = ["gcloud", "composer", "environments", "update", *d.target.where]
    return [*command, f"--update-pypi-packages-from-file={file}", "--quiet"]


def sync(source: str, destination: str) -> list[str]:
    """The command that makes ``destination`` the same as ``source``."""
    options = ["--recursive", "--checksums-only", "--delete-unmatched-destination-objects"]
    return ["gcloud", "storage", "rsync", *options, source, destination]


def write_variable(d: Deployment, text: str, *, exists: bool) -> None:
    """Set the Variable."""
    body = {"key": VARIABLE, "value": text}
    if exists:
        d.api().call("PATCH", f"/variables/{VARIABLE}?update_mask=value", body)
    else:
        d.api().call("POST", "/variables", body)
    d.say(f"  the Variable {VARIABLE} is set")
