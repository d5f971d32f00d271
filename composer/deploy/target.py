"""What is deployed where: a revision of the repository, an environment, and the names that follow from both."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from composer.deploy.gcloud import DeployError

SHA = re.compile(r"[0-9a-f]{40}")
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
IMAGES = ("training-worker", "training-worker-gpu", "evaluator")
#: Stand for what a dry run is not told.
UNNAMED = {"project": "PROJECT_ID", "environment": "ENVIRONMENT"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One commit of the repository at ``root``, and what its files say."""

    root: Path
    sha: str
    package: str
    version: str
    requirements: str
    dirty: bool

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    def text(self, path: str) -> str:
        """A file of the commit.

        Raises:
            DeployError: it has none.
        """
        return git(self.root, "show", f"{self.sha}:{path}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A Composer environment, with the repositories of Artifact Registry that it takes images and the wheel from.

    Builds run as the service account ``build_account``, with their source below ``build_staging`` (``gs://``); by
    default both are Cloud Build's own.
    """

    project: str
    region: str
    environment: str
    images_repository: str = "f1"
    python_repository: str = "f1-python"
    gpu: bool = False
    build_account: str = ""
    build_staging: str = ""

    def __post_init__(self) -> None:
        for name in ("region", "images_repository", "python_repository"):
            value = getattr(self, name)
            if not NAME.fullmatch(value):
                raise DeployError(f"{name} is {value!r}; lower-case letters, digits and -")
        if bool(self.build_account) != bool(self.build_staging):
            raise DeployError("build_account and build_staging go together: the account may read no other bucket")
        if self.build_staging and not self.build_staging.startswith("gs://"):
            raise DeployError(f"build_staging is {self.build_staging!r}; gs://bucket/folder")

    def require_named(self) -> None:
        """Refuse to deploy to nowhere.

        Raises:
            DeployError: naming what is missing.
        """
        missing = [name for name, stands_for in UNNAMED.items() if getattr(self, name) in ("", stands_for)]
        if missing:
            raise DeployError(f"{' and '.join(missing)} must be named: {' '.join(f'--{m} NAME' for m in missing)}")

    @property
    def image_folder(self) -> str:
        """Where images are."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.images_repository}"

    @property
    def python_url(self) -> str:
        """The package repository."""
        return f"https://{self.region}-python.pkg.dev/{self.project}/{self.python_repository}/"

    @property
    def where(self) -> Sequence[str]:
        """The environment, for ``gcloud composer environments``."""
        return (self.environment, f"--location={self.region}", f"--project={self.project}")


def read_revision(root: Path, name: str = "HEAD") -> Revision:
    """The commit ``name``.

    Raises:
        DeployError: ``root`` is no repository, or the commit lacks a file.
    """
    sha = git(root, "rev-parse", "--verify", f"{name}^{{commit}}").strip()
    if not SHA.fullmatch(sha):
        raise DeployError(f"{name} is no commit of {root}")
    project = tomllib.loads(git(root, "show", f"{sha}:pyproject.toml"))["project"]
    return Revision(
        root=root,
        sha=sha,
        package=project["name"],
        version=project["version"],
        requirements=git(root, "show", f"{sha}:requirements.txt"),
        dirty=bool(git(root, "status", "--porcelain", "--untracked-files=no").strip()),
    )


def git(root: Path, *arguments: str) -> str:
    """What ``git`` prints.

    Raises:
        DeployError: it failed.
    """
    return git_bytes(root, *arguments).decode()


def git_bytes(root: Path, *arguments: str) -> bytes:
    """The same, as it is.

    Raises:
        DeployError: it failed.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as e:
        raise DeployError(f"git could not be run: {e}") from e
    if done.returncode:
        raise DeployError(f"`git {' '.join(arguments)}` in {root}: {done.stderr.decode().strip()}")
    return done.stdout
