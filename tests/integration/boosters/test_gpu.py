"""The same engines on a GPU. Where there is none, every test here says why it did not run."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.snapshots import made_up_rows, spec_for
from tests.integration.boosters.one_rank import OneRank
from tests.integration.boosters.ranks import Ranks, fill_cache
from trainer.boosters import engine_for
from trainer.boosters.metrics import metric_value
from trainer.contract import Device, Engine, TrainingFailure
from trainer.rank.process import RankProcess

pytestmark = pytest.mark.timeout(400)
DEVICES = pytest.mark.parametrize(("engine", "device"), [(Engine.XGBOOST, Device.CUDA), (Engine.LIGHTGBM, Device.GPU)])


@functools.cache
def missing(engine: Engine, device: Device) -> str:
    """Why ``device`` cannot be used here; empty when it can."""
    try:
        engine_for(engine).check_device(device)
    except TrainingFailure as e:
        return str(e)
    return ""


def require(engine: Engine, device: Device) -> None:
    reason = missing(engine, device)
    if reason:
        pytest.skip(reason)


@DEVICES
def test_a_gpu_learns_what_a_cpu_learns(engine: Engine, device: Device) -> None:
    require(engine, device)
    table = made_up_rows()
    losses = {}
    for where in (Device.CPU, device):
        rank = OneRank(spec_for(table, engine, device=where), table)
        segment = rank.segment(0, rounds=20)
        losses[where] = metric_value(rank.spec.metric, *segment.validation[-1])
    assert losses[device] == pytest.approx(losses[Device.CPU], rel=0.03)


@DEVICES
def test_an_interrupted_training_on_a_gpu_goes_on_where_it_was(engine: Engine, device: Device) -> None:
    require(engine, device)
    table = made_up_rows()
    rank = OneRank(spec_for(table, engine, device=device), table)
    whole = [rank.segment(number) for number in range(3)]
    rank.restore([whole[0].document])
    rest = [rank.segment(number) for number in (1, 2)]
    for found, expected in zip(rest, whole[1:], strict=True):
        # Sums of a GPU depend on the order in which threads come, so bytes are not promised there.
        assert found.validation[-1] == pytest.approx(expected.validation[-1], rel=1e-3)


def gpus() -> int:
    """How many NVIDIA GPUs there are."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=30)
    return len([line for line in listed.stdout.splitlines() if line.startswith("GPU ")])


def test_two_ranks_train_over_nccl(tmp_path: Path) -> None:
    require(Engine.XGBOOST, Device.CUDA)
    if gpus() < 2:
        pytest.skip("NCCL wants a GPU for each rank, and this machine has one")
    table = made_up_rows()
    spec = spec_for(table, Engine.XGBOOST, num_workers=2, device=Device.CUDA)
    fill_cache(tmp_path, spec, table)
    with Ranks(spec, 2, tmp_path) as ranks:
        for process in ranks.processes:
            process.kill()
        ranks.processes = [
            RankProcess(cache_dir=tmp_path, environment={"CUDA_VISIBLE_DEVICES": str(gpu)}) for gpu in range(2)
        ]
        ranks.form()
        documents, sums = ranks.segments(0, 2, 10)
    assert len(documents) == 2
    assert metric_value(spec.metric, *sums[-1]) < metric_value(spec.metric, *sums[0])
