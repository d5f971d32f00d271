"""The images, as far as they can be had without a container engine: their files, their size, what they start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from f1_training.kubernetes import podspec
from tests.fakes import container
from tests.fakes.golden_pods import pods
from tests.fakes.image import DOCKERFILE, REPOSITORY, Assembly, AssemblyError, Image, assemble
from trainer.contract import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BUDGET_MB = 900
#: python:3.11-slim-bookworm with libgomp1, unpacked. Source: `docker image inspect --format '{{.Size}}'` of it was
#: 124 MB (amd64, 2025); rounded up.
BASE_MB = 140
VERSION, REVISION = "1.2.3", "0123456789abcdef0123456789abcdef01234567"
SITE = "opt/venv/lib/python3.11/site-packages"
CPU, GPU = ("training-worker", "evaluator", "prediction-server"), "training-worker-gpu"
ENTRYPOINTS = ("trainer.chief", "trainer.worker", "trainer.probe", "trainer.evaluate")
SERVER = "trainer.serve"


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    folder = REPOSITORY / "var" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="images-") as made:
        assembly = Assembly(Path(made), {"VERSION": VERSION, "REVISION": REVISION})
        yield {name: assembly.stage(name) for name in CPU}


@pytest.fixture
def contained() -> None:
    if why := container.unavailable():
        pytest.skip(why)


@pytest.mark.parametrize("target", CPU)
def test_a_cpu_image_is_within_its_budget(images: dict[str, Image], target: str) -> None:
    image = images[target]
    size_mb = BASE_MB + image.bytes() / 1e6
    assert size_mb <= BUDGET_MB, f"{size_mb:.0f} MB of {BUDGET_MB} MB; the largest: {image.largest()}"


@pytest.mark.parametrize("target", CPU)
def test_it_holds_the_trainer_and_its_libraries_compiled_and_nothing_of_airflow_s(
    images: dict[str, Image], target: str
) -> None:
    site = images[target].path(SITE)
    names = {p.name for p in site.iterdir()}
    assert {"trainer", "xgboost", "lightgbm", "distributed", "gcsfs", "fastapi", "uvicorn"} <= names
    assert not names & {
        "airflow",
        "f1_training",
        "composer",
        "tests",
        "pip",
        "pandas",
        "sklearn",
        "nvidia",
        "kubernetes",
    }
    sources = list((site / "trainer").rglob("*.py"))
    assert len(sources) == len(list((REPOSITORY / "trainer").rglob("*.py")))
    assert len(list((site / "trainer").rglob("*.pyc"))) == len(sources)
    assert list((site / "trainer").rglob("*.toml")), "the catalogue"


@pytest.mark.parametrize("module", ENTRYPOINTS)
@pytest.mark.usefixtures("contained")
def test_an_entrypoint_runs_as_a_pod_would_run_it(images: dict[str, Image], module: str, tmp_path: Path) -> None:
    image = images["evaluator" if module == "trainer.evaluate" else "training-worker"]
    environment = {"TRAINING_TERMINATION_LOG": "/tmp/termination-log", "TRAINING_JOB_ID": "job", "HOME": "/tmp"}
    done = container.run(image, [*image.entrypoint, module], tmp_path, environment)
    _says_what_it_lacks(done, tmp_path / "tmp" / "termination-log")


@pytest.mark.parametrize("module", ENTRYPOINTS)
def test_an_entrypoint_runs_without_the_repository(images: dict[str, Image], module: str, tmp_path: Path) -> None:
    """As the one before, as far as it goes where nobody is root."""
    image = images["evaluator" if module == "trainer.evaluate" else "training-worker"]
    said = tmp_path / "termination-log"
    environment = {**image.environment, "PATH": f"{image.path('/opt/venv/bin')}:{os.defpath}", "HOME": str(tmp_path)}
    environment |= {"TRAINING_TERMINATION_LOG": str(said), "TRAINING_JOB_ID": "job"}
    done = subprocess.run(
        [*image.entrypoint, module],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    _says_what_it_lacks(done, said)


def _says_what_it_lacks(done: subprocess.CompletedProcess[str], said: Path) -> None:
    assert done.returncode == 78, done.stdout + done.stderr
    assert Outcome.from_json(said.read_text()).message
    assert json.loads(done.stdout.splitlines()[-1])["reason"] == "ConfigInvalid"


@pytest.mark.usefixtures("contained")
def test_the_server_starts_from_its_image_with_everything_that_it_needs(
    images: dict[str, Image], tmp_path: Path
) -> None:
    """Without a model it says so once its libraries are there; without a network that is as far as it goes."""
    image = images["prediction-server"]
    environment = {"AIP_STORAGE_URI": "file:///tmp/models/tire_degradation", "HOME": "/tmp"}
    done = container.run(image, [*image.entrypoint, *image.command], tmp_path, environment)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "no version was ever promoted" in json.loads(done.stdout.splitlines()[-1])["message"]


@pytest.mark.usefixtures("contained")
def test_a_pod_is_nobody_special_and_can_write_to_tmp_only(images: dict[str, Image], tmp_path: Path) -> None:
    image = images["training-worker"]
    program = """
        import os, pathlib, sys
        pathlib.Path("/tmp/json.py").write_text("raise SystemExit('what a pod wrote was imported')")
        assert (os.getuid(), os.getgid(), os.getgroups(), os.getcwd()) == (10001, 10001, [], "/tmp")
        assert [d for d in os.listdir("/") if os.access("/" + d, os.W_OK)] == ["tmp"]
        assert not [p for p in sys.path if not p.startswith(("/opt/venv/", sys.base_prefix))], sys.path
        pathlib.Path("/opt/venv/new").touch()
    """
    done = container.run(image, ["python", "-c", textwrap.dedent(program)], tmp_path, {})
    assert "Read-only file system: '/opt/venv/new'" in done.stderr
    done = container.run(image, [*image.entrypoint, "trainer.chief"], tmp_path, {})
    assert done.returncode == 78, done.stderr


@pytest.mark.usefixtures("contained")
def test_the_assembled_engines_train(images: dict[str, Image], tmp_path: Path) -> None:
    program = """
        import sys
        import numpy as np, xgboost, lightgbm, distributed, pyarrow, gcsfs, trainer.chief.driver, trainer.worker.service
        assert all(m.__file__.startswith("/opt/venv/") for m in (xgboost, lightgbm, distributed, trainer.chief.driver))
        x = np.arange(400, dtype=np.float32).reshape(100, 4); y = x.sum(axis=1)
        print(xgboost.train({}, xgboost.DMatrix(x, y), 2).num_boosted_rounds())
        print(lightgbm.train({"verbose": -1}, lightgbm.Dataset(x, y), 2).num_trees())
        assert not {"pandas", "sklearn", "airflow"} & set(sys.modules)
    """
    done = container.run(images["training-worker"], ["python", "-c", textwrap.dedent(program)], tmp_path, {})
    assert done.stdout.split() == ["2", "2"], done.stderr


@pytest.mark.parametrize("target", CPU)
def test_its_configuration_is_what_pods_ask_for(images: dict[str, Image], target: str) -> None:
    image = images[target]
    assert image.user == f"{podspec.USER}:{podspec.USER}"
    assert any(f"--uid {podspec.USER}" in account for account in image.accounts)
    assert image.packages == ["libgomp1"]
    assert re.fullmatch(r"python:3\.11-slim-\w+", image.base)
    assert image.labels["org.opencontainers.image.version"] == VERSION
    assert image.labels["org.opencontainers.image.revision"] == REVISION
    # Pods name their program themselves, with the same words.
    started = {tuple(p["spec"]["containers"][0]["command"][:2]) for p in pods().values()}
    assert started == {tuple(image.entrypoint)}
    modules = {p["spec"]["containers"][0]["command"][2] for p in pods().values()}
    assert modules == set(ENTRYPOINTS)
    assert image.command[0] in {*modules, SERVER}
    deployment = yaml.safe_load((REPOSITORY / "composer/k8s/serving/model/deployment.yaml").read_text())
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command == [*image.entrypoint, SERVER]


def test_the_gpu_image_has_cuda_from_a_pinned_lock_and_opencl(tmp_path: Path) -> None:
    lock = (REPOSITORY / "requirements" / "gpu.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, flags=re.M))
    assert "xgboost-cpu" not in pinned
    assert {"xgboost", "nvidia-nccl-cu12"} <= set(pinned) or {"xgboost", "nvidia-nccl-cu13"} <= set(pinned)
    text = DOCKERFILE.read_text()
    stage = text[text.index(f"AS {GPU}") :]
    assert "COPY --from=build-gpu" in stage
    assert "ocl-icd-libopencl1" in stage
    assert "libnvidia-opencl.so.1 > /etc/OpenCL/vendors/nvidia.icd" in stage


def test_every_library_of_both_locks_is_pinned_by_hash() -> None:
    for name in ("train", "gpu"):
        lock = (REPOSITORY / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
        pins = [line for line in lock.splitlines() if line and not line.startswith("#")]
        assert pins
        assert not [pin for pin in pins if not re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin)]


@pytest.fixture
def cloud_build(tmp_path: Path) -> CloudBuild:
    return CloudBuild(tmp_path)


class CloudBuild:
    """The steps of ``cloudbuild.yaml``, with programs that only note how they were called."""

    def __init__(self, folder: Path) -> None:
        build = yaml.safe_load((DOCKERFILE.parent / "cloudbuild.yaml").read_text())
        self.scripts = {step["id"]: step["args"][-1] for step in build["steps"]}
        self._defaults = build["substitutions"]
        self._folder, self._calls = folder, folder / "calls"
        for name in ("docker", "gcloud"):
            program = folder / name
            program.write_text(
                f'#!/bin/sh\necho {name} "$@" >> {self._calls}\nif test "$1" = run; then exit $CODE; fi\n'
            )
            program.chmod(0o755)

    def run(self, step: str, code: int = 78, **given: str) -> tuple[int, str, list[str]]:
        """Exit code, error output and calls of a step; containers end with ``code``."""
        values = {"_VERSION": VERSION, "_SHA": REVISION, "_PIP_CONF": self._defaults["_PIP_CONF"], "_REGISTRY": "r/f1"}
        values |= given
        script = re.sub(r"\$\$|\$\{(_[A-Z_]+)\}", lambda m: values[m[1]] if m[1] else "$", self.scripts[step])
        environment = {"PATH": f"{self._folder}:{os.defpath}", "CODE": str(code)}
        self._calls.write_text("")
        done = subprocess.run(
            ["bash", "-euc", script],
            env=environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return done.returncode, done.stderr, self._calls.read_text().splitlines()


def test_the_build_tries_and_pushes_every_image_by_version_and_sha(cloud_build: CloudBuild) -> None:
    assert list(cloud_build.scripts) == ["index", "build", "try", "push"]
    _, _, built = cloud_build.run("build")
    assert len(built) == len((*CPU, GPU))
    for target, call in zip((CPU[0], GPU, *CPU[1:]), built, strict=True):
        assert f"--target {target} " in call
        assert f"--tag r/f1/{target}:{VERSION} --tag r/f1/{target}:{REVISION} ." in call
    code, error, tried = cloud_build.run("try")
    assert (code, error) == (0, "")
    assert {call.split()[-1] for call in tried} == {*ENTRYPOINTS, SERVER}
    assert {call.split()[-2] for call in tried} == {f"r/f1/{target}:{REVISION}" for target in (*CPU, GPU)}
    code, _, pushed = cloud_build.run("push")
    assert code == 0
    for target in (*CPU, GPU):
        for tag in (VERSION, REVISION):
            assert f"docker push --quiet r/f1/{target}:{tag}" in pushed
    assert len([call for call in pushed if "RepoDigests" in call]) == len((*CPU, GPU))
    assert "latest" not in "".join(cloud_build.scripts.values())


@pytest.mark.parametrize("code", [0, 1, 127])
def test_an_image_whose_program_does_not_start_is_not_pushed(cloud_build: CloudBuild, code: int) -> None:
    ended, error, tried = cloud_build.run("try", code=code)
    assert (ended, len(tried)) == (1, 1)
    assert f"trainer.chief ended with {code}, expected 78" in error


@pytest.mark.parametrize("version", ["1.2", "latest", "v1.2.3", "1.2.3+local", ""])
def test_the_build_refuses_what_is_no_version(cloud_build: CloudBuild, version: str) -> None:
    code, error, calls = cloud_build.run("build", _VERSION=version)
    assert (code, calls) == (os.EX_USAGE, [])
    assert f"_VERSION is '{version}'; a semantic version" in error


@pytest.mark.parametrize("sha", ["", "0123456"])
def test_the_build_refuses_what_is_no_commit(cloud_build: CloudBuild, sha: str) -> None:
    code, error, calls = cloud_build.run("build", _SHA=sha)
    assert (code, calls) == (os.EX_USAGE, [])
    assert f"_SHA is '{sha}'; give _SHA=$(git rev-parse HEAD)" in error


def test_a_private_index_is_read_only_where_one_is_named(cloud_build: CloudBuild) -> None:
    assert cloud_build.run("index") == (0, "", [])
    secret = "projects/p/secrets/pip-conf/versions/1"
    assert cloud_build.run("index", _PIP_CONF=secret)[2] == [f"gcloud secrets versions access {secret}"]


def test_a_step_that_cannot_be_done_here_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="there is no stage 'nothing'"):
        assemble("nothing", tmp_path)
    assembly = Assembly(tmp_path, {})
    assembly._steps["odd"] = [("FROM", "scratch AS odd"), ("RUN", "curl https://example.org/install | sh")]
    with pytest.raises(AssemblyError, match="RUN curl"):
        assembly.stage("odd")
