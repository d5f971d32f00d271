"""What one deployment knows: its target and revision, and what it asked of the environment. Nothing is changed here."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from packaging.utils import canonicalize_name

from composer.deploy.gcloud import CommandError, DeployError, Programs
from composer.deploy.target import Revision, Target, git_bytes
from composer.local.airflow_api import AirflowApi, AirflowApiError
from f1_training.core.settings import VARIABLE, read_settings
from trainer.contract import ContractError, TrainingFailure
from trainer.contract.fields import Document

#: Our DAGs lie in a folder of their own, so that those of others stay as they are.
DAGS = "f1_training"
RUNNING, BROKEN = "RUNNING", ("ERROR", "DELETING")
POLL_S, READY_S = 15.0, 5400.0
#: How long Airflow's web server may be away after a change of the packages, and what is said meanwhile.
AIRFLOW_S, AWAY = 600.0, (0, 500, 502, 503, 504)
TOKEN_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """What an environment had: a revision of ours ("" for none), packages, the Variable's text, a copy of the DAGs."""

    revision: str
    packages: Mapping[str, str]
    variable: str
    dags_uri: str
    verified: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class State(Document):
    """Kept in the artifacts' bucket: ``previous`` is what a rollback restores, ``current`` what was deployed last.

    ``wanted`` is a revision on its way, "" when none is.
    """

    KIND: ClassVar[str] = "deploy-state"

    previous: Deployed | None = None
    current: Deployed | None = None
    wanted: str = ""


@dataclass(kw_only=True)
class Deployment:
    """One revision on its way to one environment. ``folder`` is for what is built; ``sleep`` waits between looks."""

    target: Target
    revision: Revision
    programs: Programs
    folder: Path
    say: Callable[[str], None]
    settings_file: Path | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    digests: dict[str, str] = field(default_factory=dict)
    _environment: dict[str, Any] | None = None
    _folder_uri: str = ""
    _token: str = ""
    _token_at: float = 0.0

    @property
    def source(self) -> Path:
        """The files of the revision, whatever is not committed left out."""
        return self.folder / "source" / self.revision.sha

    def check_out(self) -> None:
        """Write them, unless they are there."""
        if self.source.exists():
            return
        partial = self.source.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        archive = git_bytes(self.revision.root, "archive", "--format=tar", self.revision.sha)
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(partial, filter="data")
        partial.rename(self.source)

    @property
    def wheel(self) -> Path:
        """Where the wheel is built."""
        return self.folder / "wheels" / self.revision.sha / self.revision.wheel

    def environment(self, *, again: bool = False) -> dict[str, Any]:
        """The environment as Composer describes it.

        Raises:
            DeployError: there is none of this name.
        """
        if self._environment is None or again:
            found = self.programs.json(["gcloud", "composer", "environments", "describe", *self.target.where])
            if found is None:
                where = f"{self.target.project}, {self.target.region}"
                raise DeployError(f"there is no environment {self.target.environment!r} in {where}")
            self._environment = found
        return self._environment

    @property
    def image_version(self) -> str:
        """Which image the environment runs."""
        return str(self.environment()["config"]["softwareConfig"].get("imageVersion", ""))

    def packages(self, *, again: bool = False) -> dict[str, str]:
        """The PyPI packages that the environment was given: specifiers by name."""
        software = self.environment(again=again)["config"]["softwareConfig"]
        return {canonicalize_name(name): spec for name, spec in (software.get("pypiPackages") or {}).items()}

    @property
    def dags_uri(self) -> str:
        """Where our DAGs go."""
        return f"{self.environment()['config']['dagGcsPrefix'].rstrip('/')}/{DAGS}"

    @property
    def bucket_uri(self) -> str:
        """The environment's bucket."""
        return "/".join(str(self.environment()["config"]["dagGcsPrefix"]).split("/")[:3])

    def api(self) -> AirflowApi:
        """The environment's Airflow, with a token that will do for a while."""
        return AirflowApi(str(self.environment()["config"]["airflowUri"]).rstrip("/"), token=self.token())

    def token(self) -> str:
        """A token of who is logged in. It is good for an hour: after some minutes another is asked for."""
        if not self._token or self.clock() - self._token_at > TOKEN_S:
            self._token = self.programs.look(["gcloud", "auth", "print-access-token"]).strip()
            self._token_at = self.clock()
        return self._token

    def wait_until_running(self) -> None:
        """Until the environment takes changes again.

        Raises:
            DeployError: it is broken, or did not come back in time.
        """
        end = self.clock() + READY_S
        while True:
            state = self.environment(again=True).get("state")
            if state == RUNNING:
                return
            if state in BROKEN or self.clock() > end:
                raise DeployError(f"the environment is {state}; look at it in the console, then deploy again")
            self.say(f"  the environment is {state}")
            self.sleep(POLL_S)

    def variable(self) -> str:
        """The Airflow Variable's text, "" while there is none. A web server that starts is waited for.

        Raises:
            AirflowApiError: Airflow refused, or did not come back.
        """
        end = self.clock() + AIRFLOW_S
        while True:
            try:
                return str(self.api().call("GET", f"/variables/{VARIABLE}")["value"])
            except AirflowApiError as e:
                if e.status == 404:
                    return ""
                if e.status not in AWAY or self.clock() > end:
                    raise
            self.sleep(POLL_S)

    def wanted_settings(self, now: str) -> dict[str, Any]:
        """The settings with this revision's images, from the Variable's text ``now`` or else from the file given.

        Raises:
            DeployError: there are none, or they are wrong.
        """
        if self.settings_file is not None:
            text, where = self.settings_file.read_text(encoding="utf-8"), str(self.settings_file)
        else:
            text, where = now, f"the Variable {VARIABLE}"
        if not text:
            raise DeployError(f"the Variable {VARIABLE} does not exist yet; give its settings with --settings FILE")
        try:
            body = json.loads(text)
        except ValueError as e:
            raise DeployError(f"{where} is no JSON: {e}") from e
        if not isinstance(body, dict):
            raise DeployError(f"{where} is no JSON object")
        worker = "training-worker-gpu" if self.target.gpu else "training-worker"
        body |= {"image": self.image(worker), "evaluator_image": self.image("evaluator")}
        try:
            read_settings(body)
        except (TrainingFailure, ContractError) as e:
            raise DeployError(f"{where}: {e}") from e
        return body

    def image(self, name: str) -> str:
        """The image by its digest; one that is not built yet by its tag, which only checks see."""
        address = f"{self.target.image_folder}/{name}"
        digest = self.digests.get(name)
        return f"{address}@{digest}" if digest else f"{address}:{self.revision.sha}"

    def local_dags(self) -> dict[str, str]:
        """The revision's DAG files: MD5 as Cloud Storage has it, by name."""
        found = sorted((self.source / "dags").glob("*.py"))
        return {path.name: _md5(path.read_bytes()) for path in found}

    def remote_dags(self) -> dict[str, str]:
        """The same of what the environment has."""
        command = ["gcloud", "storage", "objects", "list", f"{self.dags_uri}/**"]
        return {str(o["name"]).rpartition("/")[2]: o.get("md5_hash", "") for o in self.programs.json(command) or []}

    def folder_uri(self) -> str:
        """Where state and copies are kept: known from the start, so that going back needs no Airflow.

        Raises:
            DeployError: the artifacts are in no bucket.
        """
        if not self._folder_uri:
            now = "" if self.settings_file is not None else self.variable()
            artifacts = str(self.wanted_settings(now)["uris"]["artifacts"]).rstrip("/")
            if not artifacts.startswith("gs://"):
                raise DeployError(f"uris.artifacts is {artifacts!r}; for Cloud Composer it is gs://bucket/folder")
            self._folder_uri = f"{artifacts}/_deploy/{self.target.environment}"
        return self._folder_uri

    def state(self) -> State:
        """What is known of earlier deployments."""
        try:
            text = self.programs.look(["gcloud", "storage", "cat", f"{self.folder_uri()}/state.json"])
        except CommandError as e:
            if e.missing:
                return State()
            raise
        try:
            return State.from_json(text)
        except ContractError as e:
            raise DeployError(f"{self.folder_uri()}/state.json cannot be read: {e}; look at it, or remove it") from e

    def keep(self, state: State) -> None:
        """Write ``state``."""
        file = self.folder / "state.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(state.to_json(), encoding="utf-8")
        self.programs.change(["gcloud", "storage", "cp", str(file), f"{self.folder_uri()}/state.json"])


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
