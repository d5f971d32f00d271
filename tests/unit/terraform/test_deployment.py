"""What is made for deployments is what ``make deploy`` takes; the account that deploys may do that and no more."""

import configparser
import shlex
from dataclasses import replace

import pytest

from composer.deploy.__main__ import arguments
from composer.deploy.gcloud import DeployError
from composer.deploy.target import Target
from composer.policy.access import Thing, access_of
from composer.policy.page import EXAMPLE, TERRAFORM
from composer.policy.plan import root_module
from tests.fakes.infrastructure import PROJECT, access, account, bucket, of_type, one, root

TARGET = Target(project=PROJECT, region="europe-west4", environment="f1-training")
PROJECT_WIDE = Thing("project", PROJECT)


def test_the_repositories_are_those_that_are_taken_by_default() -> None:
    made = {r.name: (r["repository_id"], r["format"]) for r in of_type("google_artifact_registry_repository")}
    assert made["images"] == (TARGET.images_repository, "DOCKER")
    assert made["wheels"] == (TARGET.python_repository, "PYTHON")


def test_pip_s_settings_name_the_repository_so_that_a_deployment_takes_them_for_its_own() -> None:
    pip = one("google_storage_bucket_object", name="pip")
    assert pip["name"] == "config/pip/pip.conf"
    # What `PointPip` looks for; with another text it would call the file somebody's, and stop.
    assert f"{TARGET.python_url}simple" in pip["content"]
    parsed = configparser.ConfigParser()
    parsed.read_string(pip["content"])
    mirror_too = f"https://europe-west4-python.pkg.dev/{PROJECT}/f1-python-index/simple/"
    assert dict(parsed["global"]) == {
        "index-url": mirror_too,
        "extra-index-url": f"{TARGET.python_url}simple/",
    }


def test_what_a_deployment_installed_is_left_alone_by_the_next_apply() -> None:
    text = (TERRAFORM / "modules" / "composer" / "main.tf").read_text()
    assert "ignore_changes = [config[0].software_config[0].pypi_packages]" in text


def test_the_variable_is_no_secret_which_would_hide_what_a_deployment_sets() -> None:
    assert not [r["secret_id"] for r in of_type("google_secret_manager_secret") if "variables" in r["secret_id"]]


def test_the_output_is_what_the_program_takes() -> None:
    found = arguments().parse_args(shlex.split(root().output("deploy")))
    assert (found.region, found.build_account) == ("europe-west4", account("deployer"))
    assert found.build_staging.startswith(f"gs://{bucket('artifacts').name}/_deploy/")
    replace(TARGET, build_account=found.build_account, build_staging=found.build_staging)


@pytest.mark.parametrize(
    ("account_", "staging", "problem"),
    [("a@b", "", "go together"), ("", "gs://b", "go together"), ("a@b", "b/folder", "gs://bucket/folder")],
)
def test_an_account_for_builds_needs_a_bucket_that_it_may_read(account_: str, staging: str, problem: str) -> None:
    with pytest.raises(DeployError, match=problem):
        replace(TARGET, build_account=account_, build_staging=staging)


def test_the_deployer_updates_the_environment_and_builds_and_makes_no_environment() -> None:
    may = access().permissions(account("deployer"), PROJECT_WIDE)
    assert {"composer.environments.update", "cloudbuild.builds.create", "serviceusage.services.use"} <= may
    assert not may & {"composer.environments.create", "composer.environments.delete"}


@pytest.mark.parametrize(
    "service", ["bigquery", "aiplatform", "secretmanager", "container", "compute", "resourcemanager"]
)
def test_the_deployer_has_no_right_over_data_models_secrets_or_machines(service: str) -> None:
    assert not [p for p in access().anywhere(account("deployer")) if p.startswith(f"{service}.")]


def test_the_deployer_writes_where_deployments_go_and_reads_no_model_or_checkpoint() -> None:
    may = {name: access().permissions(account("deployer"), bucket(name)) for name in ("composer", "artifacts")}
    assert all({"storage.objects.create", "storage.objects.delete"} <= found for found in may.values())
    for name in ("models", "checkpoints"):
        assert not [p for p in access().permissions(account("deployer"), bucket(name)) if p.startswith("storage.")]
    for repository, pushes in (
        ("f1", True),
        ("f1-python", True),
        ("f1-python-index", False),
        ("f1-python-mirror", False),
    ):
        thing = Thing("repository", repository)
        assert access().may(account("deployer"), "artifactregistry.repositories.uploadArtifacts", thing) is pushes


def test_the_deployer_acts_as_itself_and_as_nobody_else() -> None:
    for other in of_type("google_service_account"):
        may = access().may(account("deployer"), "iam.serviceAccounts.actAs", Thing("account", other["email"]))
        assert may is (other.key == "deployer"), other.key


def test_who_is_named_may_deploy_and_nobody_else_may_act_as_the_deployer() -> None:
    made = access_of(root_module(TERRAFORM, EXAMPLE, deployers=["user:ann@example.com"]).resources())
    deployer, token = Thing("account", account("deployer")), "iam.serviceAccounts.getAccessToken"
    assert made.who(token, deployer) == {"user:ann@example.com"}
    assert access().who(token, deployer) == set()
