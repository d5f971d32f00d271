"""The steps that make what is deployed, and touch no environment: wheel, images, their places in Artifact Registry."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from composer.deploy.deployment import Deployment
from composer.deploy.gcloud import DeployError, shown
from composer.deploy.target import IMAGES

#: The time of every file in the wheel, the first that an archive can have: the same files are the same bytes.
EPOCH = "315532800"
BUILD = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"


@dataclass(frozen=True)
class BuildWheel:
    """The wheel of the revision: the same bytes whenever it is built, of every commit with the same code."""

    name: ClassVar[str] = "build the wheel"
    touches: ClassVar[bool] = False

    def told(self, d: Deployment) -> Sequence[str]:
        return [f"git archive {d.revision.sha}", f"build {d.revision.wheel} of it"]

    def done(self, d: Deployment, *, changed: bool) -> str:
        return f"{d.revision.wheel} is built" if d.wheel.exists() else ""

    def do(self, d: Deployment) -> None:
        d.check_out()
        d.wheel.parent.mkdir(parents=True, exist_ok=True)
        env = {"SOURCE_DATE_EPOCH": EPOCH}
        d.programs.change([sys.executable, "-c", BUILD, str(d.wheel.parent)], env, folder=d.source)
        if not d.wheel.exists():
            built = ", ".join(sorted(path.name for path in d.wheel.parent.iterdir()))
            raise DeployError(f"the build made {built or 'nothing'}, expected {d.revision.wheel}")


@dataclass(frozen=True)
class BuildImages:
    """The images of the revision: found by its SHA, or built by Cloud Build. Their digests are what pods get."""

    name: ClassVar[str] = "find or build the images"
    touches: ClassVar[bool] = False

    def told(self, d: Deployment) -> Sequence[str]:
        looks = [shown(self._describe(d, image)) for image in IMAGES]
        return [*looks, f"where one is missing: {shown(self._submit(d))}"]

    def done(self, d: Deployment, *, changed: bool) -> str:
        self._find(d)
        return f"all are there as {d.revision.sha[:12]}" if len(d.digests) == len(IMAGES) else ""

    def do(self, d: Deployment) -> None:
        d.check_out()
        d.programs.change(self._submit(d))
        self._find(d)
        missing = sorted(set(IMAGES) - set(d.digests))
        if missing:
            raise DeployError(f"the build is over, and {', '.join(missing)} cannot be found in {d.target.image_folder}")

    def _find(self, d: Deployment) -> None:
        for image in IMAGES:
            found = d.programs.json(self._describe(d, image))
            digest = ((found or {}).get("image_summary") or {}).get("digest")
            if digest:
                d.digests[image] = digest

    def _describe(self, d: Deployment, image: str) -> list[str]:
        address = f"{d.target.image_folder}/{image}:{d.revision.sha}"
        return ["gcloud", "artifacts", "docker", "images", "describe", address, f"--project={d.target.project}"]

    def _submit(self, d: Deployment) -> list[str]:
        values = {
            "_REGION": d.target.region,
            "_REPOSITORY": d.target.images_repository,
            "_VERSION": d.revision.version,
            "_SHA": d.revision.sha,
        }
        substitutions = ",".join(f"{name}={value}" for name, value in values.items())
        config = f"--config={d.source / 'composer/images/cloudbuild.yaml'}"
        options = [f"--substitutions={substitutions}", f"--project={d.target.project}", "--quiet"]
        if d.target.build_account:
            account = f"projects/{d.target.project}/serviceAccounts/{d.target.build_account}"
            options += [f"--service-account={account}", f"--gcs-source-staging-dir={d.target.build_staging}"]
        return ["gcloud", "builds", "submit", config, *options, str(d.source)]


@dataclass(frozen=True)
class PublishWheel:
    """The wheel in Artifact Registry. A version is published once: other bytes under it are refused."""

    name: ClassVar[str] = "publish the wheel"
    touches: ClassVar[bool] = False

    def told(self, d: Deployment) -> Sequence[str]:
        return [f"unless it has {d.revision.wheel}: {shown(self._upload(d))}"]

    def done(self, d: Deployment, *, changed: bool) -> str:
        command = ["gcloud", "artifacts", "files", "list", f"--repository={d.target.python_repository}"]
        where = [f"--location={d.target.region}", f"--project={d.target.project}"]
        of_version = [f"--package={d.revision.package}", f"--version={d.revision.version}"]
        files = d.programs.json([*command, *where, *of_version]) or []
        found = next((f for f in files if str(f.get("name", "")).endswith(d.revision.wheel)), None)
        if found is None:
            return ""
        hashes = {str(h.get("type")): str(h.get("value")) for h in found.get("hashes") or []}
        ours = base64.b64encode(hashlib.sha256(d.wheel.read_bytes()).digest()).decode()
        if hashes.get("SHA256", ours) != ours:
            raise DeployError(
                f"{d.target.python_repository} has another {d.revision.package} {d.revision.version}; a version never "
                "changes: raise it in pyproject.toml, run `make lock` and commit"
            )
        return f"{d.revision.package} {d.revision.version} is there"

    def do(self, d: Deployment) -> None:
        secret = {"UV_PUBLISH_USERNAME": "oauth2accesstoken", "UV_PUBLISH_PASSWORD": d.token()}
        d.programs.change(self._upload(d), secret)

    def _upload(self, d: Deployment) -> list[str]:
        return ["uv", "publish", f"--publish-url={d.target.python_url}", str(d.wheel)]
