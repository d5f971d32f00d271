"""How images are built: by Cloud Build's own account, or by one that may push to our repository and nowhere else."""

from dataclasses import replace
from pathlib import Path

from composer.deploy.artifacts import BuildImages
from composer.deploy.deployment import Deployment
from composer.deploy.gcloud import Programs
from composer.deploy.target import Revision, Target

REVISION = Revision(
    root=Path("/nowhere"), sha="a" * 40, package="f1-training", version="0.1.0", requirements="", dirty=False
)
TARGET = Target(project="my-project", region="europe-west4", environment="f1")
DEPLOYER = "f1-deployer@my-project.iam.gserviceaccount.com"


def submitted(target: Target, folder: Path) -> str:
    d = Deployment(target=target, revision=REVISION, programs=Programs(say=print), folder=folder, say=print)
    return BuildImages().told(d)[-1]


def test_without_an_account_cloud_build_s_own_is_left_to_it(tmp_path: Path) -> None:
    command = submitted(TARGET, tmp_path)
    assert "gcloud builds submit" in command
    assert "service-account" not in command
    assert "staging" not in command


def test_an_account_is_named_in_full_and_reads_the_source_where_it_may(tmp_path: Path) -> None:
    bucket = "gs://artifacts/_deploy/source"
    command = submitted(replace(TARGET, build_account=DEPLOYER, build_staging=bucket), tmp_path)
    assert f"--service-account=projects/my-project/serviceAccounts/{DEPLOYER}" in command
    assert f"--gcs-source-staging-dir={bucket}" in command
    assert command.rstrip().endswith(REVISION.sha), "the source comes last"
