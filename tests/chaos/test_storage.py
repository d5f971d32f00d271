"""Checkpoints that are torn, corrupt or gone; a disk that is full; a bucket that fails one call in three."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from composer.local.gcs.buckets import Buckets
from composer.local.gcs.testing import OneInThree, running_gcs
from tests.chaos.cluster import Report, Run
from tests.chaos.conftest import Start, Wanted
from tests.integration.jobs.pods import Launcher
from trainer.contract import FailureReason, OutputUris, TrainingResult, layout

pytestmark = pytest.mark.timeout(180)
Undisturbed = Callable[..., Report]
Survived = Callable[..., None]


def newest(run: Run) -> tuple[Path, Path]:
    """The newest committed manifest and the segment that it was written for."""
    manifest = max(run.checkpoints.rglob("manifest.json"))
    return manifest, next(manifest.parent.glob("segment.*"))


def corrupt(run: Run) -> None:
    _, segment = newest(run)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(bytes(data))


def truncate(run: Run) -> None:
    manifest, _ = newest(run)
    manifest.write_bytes(manifest.read_bytes()[:200])


def delete(run: Run) -> None:
    newest(run)[1].unlink()


@pytest.mark.chaos
@pytest.mark.parametrize("damage", [corrupt, truncate, delete])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived, damage: Callable[[Run], None]
) -> None:
    run = start(wanted()).at_round(150).lose_chief()
    last = int(newest(run)[0].parent.name)
    damage(run)
    report = run.start_chief().until_finished()
    fault = f"kill the chief, {damage.__name__} the newest checkpoint"
    survived(fault, run, report, undisturbed(), detected_by="passed-over")
    assert report.named("passed-over")
    assert report.named("resumed")[0]["round"] == last - 50
    assert report.sha256 == undisturbed().sha256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False, timeout=20)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


def test_a_full_disk_ends_the_job_and_a_larger_one_continues_it(
    start: Start, wanted: Wanted, undisturbed: Undisturbed, survived: Survived, small_disk: Path, tmp_path: Path
) -> None:
    output = OutputUris(checkpoints=(small_disk / "c").as_uri(), artifacts=(tmp_path / "artifacts").as_uri())
    run = start(wanted(output=output))
    run.chief.wait(120)
    outcome = run.chief.outcome()
    assert outcome.reason is FailureReason.STORAGE_FULL
    assert outcome.exit_code == os.EX_IOERR
    assert "free space there" in outcome.message
    committed = max((int(p.parent.name) for p in run.checkpoints.rglob("manifest.json")), default=0)
    assert outcome.last_round == committed
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True, timeout=20)
    report = run.start_chief().until_finished()
    survived("a full disk, then a larger one", run, report, undisturbed(), detected_by="resumed")
    assert report.sha256 == undisturbed().sha256


@pytest.mark.chaos
def test_a_bucket_that_fails_one_call_in_three(
    launcher: Launcher, wanted: Wanted, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    faults = OneInThree(503)
    buckets = tmp_path / "buckets"
    # With the rights that pods have.
    with running_gcs(buckets, faults, may_delete=False) as address:
        launcher.environment |= {
            "STORAGE_EMULATOR_HOST": address,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "NO_GCE_CHECK": "true",
        }
        spec = wanted(output=OutputUris(checkpoints="gs://bucket/run/c", artifacts="gs://bucket/run/a"))
        job = launcher.job(spec)
        assert job.chief.wait(150) == os.EX_OK, job.chief.tail()
        committed = [e["round"] for e in job.chief.seen if e["event"] == "committed"]
        assert committed == list(range(50, 401, 50))
        assert faults.requests > 30
    _, written = Buckets(buckets, ["bucket"]).read("bucket", f"run/a/{layout.RESULT}")
    assert TrainingResult.from_json(written).sha256 == undisturbed().sha256
