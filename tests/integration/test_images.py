"""The images, as far as they can be had without a container engine: their files, their size, what they start."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from f1_training.kubernetes import podspec
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
CPU, GPU = ("training-worker", "evaluator"), "training-worker-gpu"
ENTRYPOINTS = ("trainer.chief", "trainer.worker", "trainer.probe", "trainer.evaluate")


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    # Not below pytest's folders, which nobody but root can enter.
    folder = REPOSITORY / "var" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="images-") as made:
        os.chmod(made, 0o755)
        arguments = {"VERSION": VERSION, "REVISION": REVISION}
        assembly = Assembly(Path(made), arguments)
        yield {name: assembly.stage(name) for name in CPU}


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
    assert {"trainer", "xgboost", "lightgbm", "distributed", "gcsfs"} <= names
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


@pytest.mark.parametrize("user", [False, True], ids=["as ourselves", "as the pod's user"])
@pytest.mark.parametrize("module", ENTRYPOINTS)
def test_an_entrypoint_runs_as_a_pod_would_run_it(images: dict[str, Image], module: str, user: bool) -> None:
    image = images["evaluator" if module == "trainer.evaluate" else "training-worker"]
    if user and os.geteuid() != 0:
        pytest.skip("only root can become the pod's user")
    if user and (closed := _closed_to_others(image)):
        pytest.skip(f"{closed} cannot be entered by the pod's user")
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o777)
        said = Path(scratch) / "termination-log"
        environment = {**image.environment, "PATH": f"{image.path('/opt/venv/bin')}:{os.defpath}", "HOME": scratch}
        environment |= {"TRAINING_TERMINATION_LOG": str(said), "TRAINING_JOB_ID": "job", "TRAINING_CACHE_DIR": scratch}
        done = subprocess.run(
            [*image.entrypoint, module],
            env=environment,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            user=podspec.USER if user else None,
            group=podspec.USER if user else None,
        )
        assert done.returncode == 78, done.stdout + done.stderr
        assert Outcome.from_json(said.read_text()).message
        assert json.loads(done.stdout.splitlines()[-1])["reason"] == "ConfigInvalid"


def _closed_to_others(image: Image) -> str:
    """What the pod's account cannot enter here, though it could in the image: the interpreter is this machine's."""
    wanted = (image.root, Path(os.path.realpath(image.path("/opt/venv/bin/python"))))
    folders = dict.fromkeys(folder for path in wanted for folder in path.parents)
    return next((str(f) for f in folders if f.stat().st_mode & 0o005 != 0o005), "")


def test_the_assembled_engines_train(images: dict[str, Image]) -> None:
    program = """
        import sys
        import numpy as np, xgboost, lightgbm, distributed, pyarrow, gcsfs, trainer.chief.driver, trainer.worker.service
        assert all("/opt/venv/" in m.__file__ for m in (xgboost, lightgbm, distributed, trainer.chief.driver))
        x = np.arange(400, dtype=np.float32).reshape(100, 4); y = x.sum(axis=1)
        print(xgboost.train({}, xgboost.DMatrix(x, y), 2).num_boosted_rounds())
        print(lightgbm.train({"verbose": -1}, lightgbm.Dataset(x, y), 2).num_trees())
        assert not {"pandas", "sklearn", "airflow"} & set(sys.modules)
    """
    image = images["training-worker"]
    code = "\n".join(line.strip() for line in program.strip().splitlines())
    done = subprocess.run(
        [image.path("/opt/venv/bin/python"), "-c", code],
        env={**image.environment, "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
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
    assert image.command[0] in modules


def test_the_gpu_image_has_cuda_from_a_pinned_lock_and_opencl(tmp_path: Path) -> None:
    lock = (REPOSITORY / "requirements" / "gpu.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, flags=re.M))
    assert "xgboost-cpu" not in pinned
    assert {"xgboost", "nvidia-nccl-cu12"} <= set(pinned) or {"xgboost", "nvidia-nccl-cu13"} <= set(pinned)
    assert lock.count("--hash=sha256:") > len(pinned)
    text = DOCKERFILE.read_text()
    stage = text[text.index(f"AS {GPU}") :]
    assert "COPY --from=build-gpu" in stage
    assert "ocl-icd-libopencl1" in stage
    assert "libnvidia-opencl.so.1 > /etc/OpenCL/vendors/nvidia.icd" in stage


def test_the_build_tries_and_pushes_every_image_by_version_and_sha() -> None:
    build = yaml.safe_load((DOCKERFILE.parent / "cloudbuild.yaml").read_text())
    scripts = {step["id"]: step["args"][-1] for step in build["steps"]}
    assert list(scripts) == ["build", "try", "push"]
    for target in (*CPU, GPU):
        assert all(target in script for script in scripts.values())
    assert all(module in scripts["try"] for module in ENTRYPOINTS)
    assert "${_VERSION}" in scripts["push"]
    assert "${_SHA}" in scripts["push"]
    assert "RepoDigests" in scripts["push"]
    assert "latest" not in "".join(scripts.values())


@pytest.mark.parametrize("version", ["1.2", "latest", "v1.2.3", ""])
def test_the_build_refuses_what_is_no_version(version: str) -> None:
    build = yaml.safe_load((DOCKERFILE.parent / "cloudbuild.yaml").read_text())
    check = build["steps"][0]["args"][-1].splitlines()[0].replace("$$", "$").replace("${_VERSION}", version)
    done = subprocess.run(["bash", "-euc", check], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == os.EX_USAGE
    assert f"_VERSION is '{version}'; a semantic version" in done.stderr


def test_a_step_that_cannot_be_done_here_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="there is no stage 'nothing'"):
        assemble("nothing", tmp_path)
    assembly = Assembly(tmp_path, {})
    assembly._steps["odd"] = [("FROM", "scratch AS odd"), ("RUN", "curl https://example.org/install | sh")]
    with pytest.raises(AssemblyError, match="RUN curl"):
        assembly.stage("odd")
