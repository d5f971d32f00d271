"""``python -m composer.deploy``: a small repository onto a recorded Google Cloud, by real processes and real HTTP."""

import copy
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from composer.deploy.__main__ import main
from composer.deploy.deployment import Deployment
from composer.deploy.environment import Verify
from composer.deploy.gcloud import DeployError, Programs
from composer.deploy.target import Target, read_revision
from composer.local.places import REPOSITORY
from tests.fakes.airflow_api import FakeAirflow, running_airflow

IMAGE = "composer-3-airflow-3.3.1-build.2"
SETTINGS = {
    "project": "my-project",
    "image": "old-worker:0.0.9",
    "evaluator_image": "old-evaluator:0.0.9",
    "uris": {name: f"gs://f1-{name}/f1" for name in ("checkpoints", "artifacts", "models")},
    "namespace": "f1-training",
}
FILES = {
    "pyproject.toml": (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "f1-training"\nversion = "0.1.0"\n[tool.setuptools]\npy-modules = ["f1"]\n'
    ),
    "f1.py": "VALUE = 1\n",
    "requirements.txt": "f1-training==0.1.0\napache-airflow-providers-google==22.2.2\ngcsfs==2026.10.1\n",
    "requirements/composer-image.txt": f"# ({IMAGE})\napache-airflow==3.3.1\napache-airflow-providers-google==22.2.2\n",
    "dags/f1_preflight.py": "# the preflight\n",
    "dags/f1_training.py": "# trains\n",
    "composer/images/cloudbuild.yaml": "steps: []\n",
}
CHANGING = (
    "gcloud builds submit",
    "uv publish",
    "gcloud composer environments update",
    "gcloud storage cp",
    "gcloud storage rsync",
    "gcloud storage rm",
)


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Place:
    """A repository, a cloud and an Airflow, all of the test's own."""

    folder: Path
    airflow: FakeAirflow

    @property
    def cloud(self) -> Path:
        return self.folder / "cloud"

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        command = ["git", "-C", str(self.folder / "source"), *identity, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    def commit(self, **changes: str) -> str:
        for name, text in changes.items():
            file = self.folder / "source" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "a change", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def arguments(self, *options: str, named: bool = True) -> list[str]:
        where = ["--project", "my-project", "--environment", "f1"] if named else []
        source = ["--source", str(self.folder / "source"), "--folder", str(self.folder / "built")]
        return [*where, *source, *options]

    def deploy(self, *options: str, named: bool = True, path: str = "") -> Done:
        """What ``make deploy`` runs, in this process: importing it takes longer than all that it does."""
        out, err, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("PATH", path or f"{self.folder / 'bin'}:{os.environ['PATH']}")
            patch.setenv("FAKE_CLOUD", str(self.cloud))
            try:
                code = main(self.arguments(*options, named=named))
            finally:
                signal.signal(signal.SIGTERM, handler)
        return Done(code, out.getvalue(), err.getvalue())

    @property
    def only_git(self) -> str:
        """A PATH without gcloud and uv."""
        folder = self.folder / "only-git"
        folder.mkdir()
        (folder / "git").symlink_to(str(shutil.which("git")))
        return str(folder)

    def read(self, name: str) -> Any:
        return json.loads((self.cloud / name).read_text())

    def write(self, name: str, value: Any) -> None:
        (self.cloud / name).write_text(json.dumps(value))

    def packages(self) -> dict[str, str]:
        packages: dict[str, str] = self.read("environment.json")["config"]["softwareConfig"]["pypiPackages"]
        return packages

    def calls(self) -> list[str]:
        """What was asked until now, and no more from here on."""
        file = self.cloud / "calls.jsonl"
        found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def bucket(self, name: str) -> dict[str, str]:
        folder = self.cloud / "buckets" / name
        return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}

    def variable(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.airflow.variables["f1_training"])
        return value


@contextmanager
def new_place(tmp_path: Path) -> Iterator[Place]:
    for program in ("gcloud", "uv"):
        file = tmp_path / "bin" / program
        file.parent.mkdir(exist_ok=True)
        source = (REPOSITORY / "tests" / "fakes" / "programs.py").read_text()
        # This interpreter without site-packages, which starts at once; one on PATH may be a slow shim.
        file.write_text(source.replace("/usr/bin/env -S python3 -S", f"{sys.executable} -S", 1))
        file.chmod(0o755)
    with running_airflow() as airflow:
        found = Place(tmp_path, airflow)
        (tmp_path / "source").mkdir()
        found.git("init", "-q")
        found.commit(**FILES)
        found.cloud.mkdir()
        software = {"imageVersion": IMAGE, "pypiPackages": {"somebody-s": ">=1"}}
        config = {"dagGcsPrefix": "gs://composer-bucket/dags", "airflowUri": airflow.url, "softwareConfig": software}
        name = "projects/my-project/locations/europe-west4/environments/f1"
        found.write("environment.json", {"name": name, "state": "RUNNING", "config": config})
        airflow.variables["f1_training"] = json.dumps(SETTINGS)
        airflow.dags = {"f1_preflight", "f1_training"}
        airflow.findings = [{"check": "settings", "verdict": "pass", "found": "fine", "fix": ""}]
        other = found.cloud / "buckets" / "composer-bucket" / "dags" / "somebody_s.py"
        other.parent.mkdir(parents=True)
        other.write_text("# not ours\n")
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with new_place(tmp_path) as found:
        yield found


@dataclass(frozen=True)
class Template:
    """A place that was deployed to, as it lay there, and what was said."""

    folder: Path
    airflow: FakeAirflow
    done: Done
    calls: list[str]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    with new_place(tmp_path_factory.mktemp("template")) as found:
        done = found.deploy("--apply")
        return Template(found.folder, found.airflow, done, found.calls())


@pytest.fixture
def deployed(template: Template, tmp_path: Path) -> Iterator[Place]:
    """A copy of a place that was deployed to, of the test's own."""
    shutil.copytree(template.folder, tmp_path, dirs_exist_ok=True)
    with running_airflow() as airflow:
        url = airflow.url
        vars(airflow).update(copy.deepcopy(vars(template.airflow)) | {"url": url})
        found = Place(tmp_path, airflow)
        environment = found.read("environment.json")
        environment["config"]["airflowUri"] = url
        found.write("environment.json", environment)
        yield found


def test_a_dry_run_is_a_complete_plan_without_credentials(place: Place) -> None:
    # Not even a gcloud: nothing but git is on this PATH.
    environment = {
        "PATH": place.only_git,
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
        "HOME": "/nowhere",
        "PYTHONDONTWRITEBYTECODE": "1",  # nothing beside the sources
    }
    command = [sys.executable, "-m", "composer.deploy", *place.arguments(named=False)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = [line.partition(". ")[2] for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert steps == [
        "build the wheel",
        "find or build the images",
        "publish the wheel",
        "point the environment's pip at the repository",
        "install the packages",
        "sync the DAGs",
        "set the images in the Variable",
        "verify with f1_preflight",
    ]
    for words in ("gcloud builds submit", "uv publish", "--update-pypi-packages-from-file", "rsync", "sha256:..."):
        assert words in done.stdout
    assert "Nothing was done" in done.stdout
    assert not place.calls()
    assert not (place.folder / "built").exists()
    assert place.airflow.changes == []


def test_a_conflicting_requirement_is_refused_before_anything_is_touched(place: Place) -> None:
    place.commit(**{"requirements.txt": FILES["requirements.txt"].replace("22.2.2", "23.0.0")})
    done = place.deploy("--apply")
    assert done.returncode == os.EX_CONFIG
    assert (
        "apache-airflow-providers-google==23.0.0: the image ships apache-airflow-providers-google 22.2.2" in done.stderr
    )
    assert "nothing was touched" in done.stderr
    assert not place.calls()
    assert place.airflow.changes == []


def test_a_list_of_one_s_own_is_checked_instead(place: Place) -> None:
    file = place.folder / "packages.txt"
    file.write_text("PACKAGE  VERSION\ngcsfs    2025.1.0\n")
    done = place.deploy("--packages", str(file))
    assert done.returncode == os.EX_CONFIG
    assert "gcsfs==2026.10.1: the image ships gcsfs 2025.1.0" in done.stderr


def test_apply_does_the_steps_in_order(template: Template, deployed: Place) -> None:
    done, place = template.done, deployed
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [call for call in template.calls if call in CHANGING]
    assert calls == [
        "gcloud builds submit",
        "uv publish",
        "gcloud storage cp",  # what was there before
        "gcloud storage cp",  # pip.conf
        "gcloud composer environments update",
        "gcloud storage rsync",
        "gcloud storage cp",  # what is there now
    ]
    sha = place.git("rev-parse", "HEAD")
    assert place.packages() == {
        "apache-airflow-providers-google": "==22.2.2",
        "f1-training": "==0.1.0",
        "gcsfs": "==2026.10.1",
        "somebody-s": ">=1",
    }
    dags = place.bucket("composer-bucket")
    assert dags["dags/f1_training/f1_training.py"] == "# trains\n"
    assert dags["dags/somebody_s.py"] == "# not ours\n"
    assert "europe-west4-python.pkg.dev/my-project/f1-python/simple/" in dags["config/pip/pip.conf"]
    digests = place.read("images.json")
    folder = "europe-west4-docker.pkg.dev/my-project/f1"
    assert place.variable() == {
        **SETTINGS,
        "image": f"{folder}/training-worker@{digests[f'{folder}/training-worker:{sha}']}",
        "evaluator_image": f"{folder}/evaluator@{digests[f'{folder}/evaluator:{sha}']}",
    }
    assert place.airflow.pools["f1_training"]["include_deferred"] is True
    assert len(place.airflow.runs) == 1
    assert "a-token" not in done.stdout + done.stderr


def test_a_second_time_nothing_is_done(deployed: Place) -> None:
    place, changes = deployed, len(deployed.airflow.changes)
    # From another machine, too: the wheel is built again, and is the same.
    shutil.rmtree(place.folder / "built")
    again = place.deploy("--apply")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.endswith("everything was deployed already\n")
    assert not Counter(place.calls()).keys() & set(CHANGING)
    assert len(place.airflow.changes) == changes


def test_a_failing_preflight_rolls_back(deployed: Place) -> None:
    place = deployed
    before = (place.packages(), place.bucket("composer-bucket"), place.variable())
    place.commit(
        **{
            "pyproject.toml": FILES["pyproject.toml"].replace("0.1.0", "0.2.0"),
            "requirements.txt": FILES["requirements.txt"].replace("training==0.1.0", "training==0.2.0"),
            "dags/f1_training.py": "# trains otherwise\n",
        }
    )
    place.airflow.findings = [{"check": "quota", "verdict": "fail", "found": "no CPU is left", "fix": "ask for more"}]
    place.calls()
    done = place.deploy("--apply")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "FAIL  quota  no CPU is left" in done.stdout
    assert "1 of 2 checks of f1_preflight failed" in done.stderr
    assert "the environment is what it was before" in done.stderr
    assert place.calls().count("gcloud composer environments update") == 2
    assert (place.packages(), place.bucket("composer-bucket"), place.variable()) == before


def test_packages_that_composer_refuses_leave_everything_as_it_was(place: Place) -> None:
    before = place.packages()
    place.write("fails.json", {"environments update": "FAILED_PRECONDITION: conflict of packages"})
    done = place.deploy("--apply")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "install the packages" in done.stderr
    assert "conflict of packages" in done.stderr
    assert "the environment is what it was before" in done.stderr
    assert place.packages() == before
    assert place.variable() == SETTINGS
    assert "dags/f1_training/f1_training.py" not in place.bucket("composer-bucket")


def test_a_deployment_that_was_cut_off_goes_on_and_can_be_undone(place: Place) -> None:
    # The DAGs cannot be written, and the way back is cut off, too.
    place.write("fails.json", {"storage rsync": "connection lost", "storage objects list": "connection lost"})
    done = place.deploy("--apply")
    assert done.returncode == os.EX_UNAVAILABLE
    (place.cloud / "fails.json").unlink()
    done = place.deploy("--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    back = place.deploy("--rollback")
    assert back.returncode == 0, back.stdout + back.stderr
    assert place.packages() == {"somebody-s": ">=1"}
    assert place.variable() == SETTINGS
    assert place.bucket("composer-bucket").keys() == {"dags/somebody_s.py", "config/pip/pip.conf"}


def test_a_version_is_published_once(deployed: Place) -> None:
    place = deployed
    place.commit(**{"f1.py": "VALUE = 2\n"})
    done = place.deploy("--apply")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "has another f1-training 0.1.0; a version never changes: raise it in pyproject.toml" in done.stderr
    assert len(place.airflow.runs) == 1


def test_a_commit_with_the_same_code_needs_no_new_version(deployed: Place) -> None:
    place = deployed
    place.calls()
    place.commit(**{"dags/f1_training.py": "# trains otherwise\n"})
    done = place.deploy("--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    calls = place.calls()
    assert "uv publish" not in calls
    assert "gcloud composer environments update" not in calls
    assert place.bucket("composer-bucket")["dags/f1_training/f1_training.py"] == "# trains otherwise\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variable": None}, "the Variable f1_training does not exist yet; give its settings with --settings FILE"),
        ({"variable": {**SETTINGS, "projct": 1}}, "projct: is unknown"),
        ({"image": "composer-3-airflow-3.4.0-build.1"}, "the environment runs composer-3-airflow-3.4.0-build.1"),
        ({"name": "x/other"}, "there is no environment 'f1' in my-project, europe-west4"),
        ({"pip": "[global]\nindex-url = https://mine/\n"}, "is somebody's and does not name our repository"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(place: Place, change: dict[str, Any], words: str) -> None:
    if "variable" in change:
        place.airflow.variables.clear()
        if change["variable"]:
            place.airflow.variables["f1_training"] = json.dumps(change["variable"])
    environment = place.read("environment.json")
    environment["config"]["softwareConfig"]["imageVersion"] = change.get("image", IMAGE)
    environment["name"] = change.get("name", environment["name"])
    place.write("environment.json", environment)
    if "pip" in change:
        file = place.cloud / "buckets" / "composer-bucket" / "config" / "pip" / "pip.conf"
        file.parent.mkdir(parents=True)
        file.write_text(change["pip"])
    done = place.deploy("--apply")
    assert done.returncode == os.EX_UNAVAILABLE
    assert words in done.stderr
    assert "gcloud composer environments update" not in place.calls()


def test_the_first_settings_come_from_a_file(place: Place) -> None:
    place.airflow.variables.clear()
    (place.folder / "settings.json").write_text(json.dumps(SETTINGS))
    done = place.deploy("--apply", "--settings", str(place.folder / "settings.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.variable()["uris"] == SETTINGS["uris"]
    assert "@sha256:" in place.variable()["image"]
    assert place.airflow.changes[:2] == ["POST variables", "POST pools"]


class Waiting:
    """A deployment that need not wait: time passes when it sleeps, and ``meanwhile`` something happens."""

    def __init__(self, place: Place, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("PATH", f"{place.folder / 'bin'}:{os.environ['PATH']}")
        patch.setenv("FAKE_CLOUD", str(place.cloud))
        self.now, self.slept, self.said = 0.0, list[float](), list[str]()
        self.meanwhile: Callable[[], None] = lambda: None
        self.deployment = Deployment(
            target=Target(project="my-project", region="europe-west4", environment="f1"),
            revision=read_revision(place.folder / "source"),
            programs=Programs(say=self.said.append),
            folder=place.folder / "built",
            say=self.said.append,
            sleep=self._sleep,
            clock=lambda: self.now,
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.meanwhile()


@pytest.fixture
def waiting(place: Place, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(place, monkeypatch)


def in_state(place: Place, state: str) -> None:
    place.write("environment.json", {**place.read("environment.json"), "state": state})


def test_a_gpu_s_image_is_another_one(waiting: Waiting) -> None:
    d = waiting.deployment
    d.target = replace(d.target, gpu=True)
    d.digests = dict.fromkeys(("training-worker", "training-worker-gpu", "evaluator"), f"sha256:{'1' * 64}")
    assert d.wanted_settings(json.dumps(SETTINGS))["image"].endswith(f"/training-worker-gpu@sha256:{'1' * 64}")


def test_an_environment_that_updates_is_waited_for(place: Place, waiting: Waiting) -> None:
    in_state(place, "UPDATING")
    waiting.meanwhile = lambda: in_state(place, "RUNNING")
    waiting.deployment.wait_until_running()
    assert (waiting.slept, waiting.said) == ([15.0], ["  the environment is UPDATING"])


def test_a_broken_environment_is_not(place: Place, waiting: Waiting) -> None:
    in_state(place, "ERROR")
    with pytest.raises(DeployError, match="the environment is ERROR; look at it"):
        waiting.deployment.wait_until_running()


def test_nor_one_that_does_not_come_back(place: Place, waiting: Waiting) -> None:
    in_state(place, "UPDATING")
    waiting.meanwhile = lambda: setattr(waiting, "now", 5401.0)
    with pytest.raises(DeployError, match="the environment is UPDATING"):
        waiting.deployment.wait_until_running()


def test_a_web_server_that_starts_is_waited_for(place: Place, waiting: Waiting) -> None:
    place.airflow.away = 1
    assert json.loads(waiting.deployment.variable()) == SETTINGS
    assert waiting.slept == [15.0]


def test_dags_that_are_not_found_yet_are_waited_for(place: Place, waiting: Waiting) -> None:
    waiting.deployment.check_out()
    place.airflow.dags = {"f1_preflight"}
    place.airflow.pools["f1_training"] = {"slots": 4, "include_deferred": True}
    waiting.meanwhile = lambda: place.airflow.dags.add("f1_training")
    Verify().do(waiting.deployment)
    assert waiting.slept == [10.0]
    assert len(place.airflow.runs) == 1


def test_a_dag_with_an_import_error_is_named(place: Place, waiting: Waiting) -> None:
    waiting.deployment.check_out()
    others = {"filename": "somebody_s.py", "stack_trace": "SyntaxError"}
    ours = {"filename": "f1_training/f1_training.py", "stack_trace": "Traceback\n  ...\nImportError: no name 'x'\n"}
    place.airflow.import_errors = [others, ours]
    waiting.meanwhile = lambda: setattr(waiting, "now", 901.0)
    with pytest.raises(DeployError, match=r"within 900 s: f1_training/f1_training\.py: ImportError: no name 'x'"):
        Verify().do(waiting.deployment)
    assert place.airflow.runs == []


def test_apply_without_names_is_refused(place: Place) -> None:
    done = place.deploy("--apply", named=False)
    assert done.returncode == os.EX_CONFIG
    assert "project and environment must be named: --project NAME --environment NAME" in done.stderr


def test_without_gcloud_the_fix_is_said(place: Place) -> None:
    done = place.deploy("--apply", path=place.only_git)
    assert done.returncode == os.EX_UNAVAILABLE
    assert "gcloud is not on PATH; install the Google Cloud CLI" in done.stderr
