"""What is kept, for how long and under which key: lifecycles simulated on objects as they grow older."""

from dataclasses import replace

import pytest

from composer.policy.lifecycle import Stored, after, deleted, early_deletion_days
from composer.policy.page import TERRAFORM
from composer.policy.plan import PROJECT_NUMBER, Resource
from tests.fakes.infrastructure import access, of_type, one, plan

YEARS = 3 * 365


def bucket(name: str) -> Resource:
    return one("google_storage_bucket", name=name)


@pytest.mark.parametrize("age", [91, 365, YEARS])
def test_row_9_a_champion_stays_however_old_it_is(age: int) -> None:
    kept = after(bucket("models"), age, "tire_degradation/20240101-1/booster.ubj")
    assert kept is not None
    assert (kept.noncurrent, kept.storage_class) == (None, "STANDARD")


def test_a_model_that_is_deleted_by_mistake_can_be_brought_back_for_a_month() -> None:
    models = bucket("models")
    lost = deleted(models, Stored(name="booster.ubj", storage_class="STANDARD", age=200))
    assert lost is not None
    assert lost.noncurrent == 0


@pytest.mark.parametrize(("age", "there"), [(1, True), (6, True), (7, False), (8, False)])
def test_row_8_checkpoints_go_on_the_seventh_day(age: int, there: bool) -> None:
    assert (after(bucket("checkpoints"), age) is not None) is there


def test_row_8_checkpoints_are_standard_and_pay_for_no_day_after_the_last() -> None:
    last = after(bucket("checkpoints"), 6)
    assert last is not None
    assert last.storage_class == "STANDARD"
    assert early_deletion_days(last) == 0
    assert early_deletion_days(replace(last, storage_class="NEARLINE")) == 24, "what the specification would have paid"
    assert bucket("checkpoints").one("soft_delete_policy")["retention_duration_seconds"] == 0


@pytest.mark.parametrize(("age", "storage_class"), [(29, "STANDARD"), (30, "NEARLINE"), (89, "NEARLINE")])
def test_artifacts_move_to_nearline_after_a_month(age: int, storage_class: str) -> None:
    kept = after(bucket("artifacts"), age)
    assert kept is not None
    assert (kept.storage_class, kept.noncurrent) == (storage_class, None)


def test_row_9_artifacts_are_deleted_after_90_days_and_gone_a_week_later() -> None:
    at_90 = after(bucket("artifacts"), 90)
    assert at_90 is not None
    assert at_90.noncurrent == 0
    assert after(bucket("artifacts"), 96) is not None
    assert after(bucket("artifacts"), 97) is None


def test_artifacts_have_paid_nearline_s_minimum_when_they_go() -> None:
    last = after(bucket("artifacts"), 96)
    assert last is not None
    assert early_deletion_days(last) == 0


def test_task_logs_go_and_dags_stay() -> None:
    assert after(bucket("composer"), YEARS, "dags/f1_training.py") is not None
    assert after(bucket("composer"), YEARS, "logs/dag_id=f1_training/1.log") is None


@pytest.mark.parametrize("name", ["models", "artifacts", "checkpoints", "composer"])
def test_buckets_are_closed(name: str) -> None:
    found = bucket(name)
    assert found["uniform_bucket_level_access"] is True
    assert found["public_access_prevention"] == "enforced"
    assert "force_destroy" not in found.arguments


def test_these_are_all_buckets() -> None:
    assert {b.name for b in of_type("google_storage_bucket")} == {"models", "artifacts", "checkpoints", "composer"}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("google_storage_bucket", lambda r: r.one("encryption")["default_kms_key_name"]),
        ("google_bigquery_dataset", lambda r: r.one("default_encryption_configuration")["kms_key_name"]),
        ("google_artifact_registry_repository", lambda r: r["kms_key_name"]),
        ("google_container_cluster", lambda r: r.one("database_encryption")["key_name"]),
        ("google_container_node_pool", lambda r: r.one("node_config")["boot_disk_kms_key"]),
        ("google_composer_environment", lambda r: r.one("config")["encryption_config"][0]["kms_key_name"]),
        ("google_logging_project_bucket_config", lambda r: r.one("cmek_settings")["kms_key_name"]),
        (
            "google_secret_manager_secret",
            lambda r: r.one("replication")["user_managed"][0]["replicas"][0]["customer_managed_encryption"][0][
                "kms_key_name"
            ],
        ),
    ],
)
def test_everything_that_keeps_data_has_a_key_of_ours(kind: str, key: object) -> None:
    keys = {r["id"] for r in of_type("google_kms_crypto_key")}
    assert callable(key)
    assert {key(r) for r in of_type(kind)} <= keys


def test_keys_rotate_and_cannot_be_destroyed() -> None:
    assert {k["rotation_period"] for k in of_type("google_kms_crypto_key")} == {"7776000s"}


def test_every_key_can_be_used_by_somebody() -> None:
    used = {r["crypto_key_id"] for r in of_type("google_kms_crypto_key_iam_member")}
    assert used == {r["id"] for r in of_type("google_kms_crypto_key")}


def test_agents_that_google_makes_when_asked_are_made_before_they_are_granted_anything() -> None:
    made = {r["service"].removesuffix(".googleapis.com") for r in of_type("google_project_service_identity")}
    # Of these Google says that they are made with the API: containers and machines.
    always = {"container-engine-robot", "compute-system"}
    asked = {"gs-project-accounts", "bigquery-encryption"}
    names = {"cloudcomposer-accounts": "composer", "gcp-sa-logging": ""}
    text = (TERRAFORM / "modules" / "storage" / "keys.tf").read_text()
    before = text[text.rindex("depends_on = [") :]
    for kind in (
        "storage_project_service_account",
        "bigquery_default_service_account",
        "logging_project_cmek_settings",
    ):
        assert f"data.google_{kind}.agent" in before
    assert "google_project_service_identity.agents" in before
    agents = {g.member.rpartition("@")[2].partition(".")[0] for g in access().grants if PROJECT_NUMBER in g.member}
    for agent in agents - always - asked:
        service = names.get(agent, agent.removeprefix("gcp-sa-"))
        assert not service or service in made, agent


def test_snapshots_expire_and_training_tables_do_not() -> None:
    week = 7 * 86_400_000
    found = {r.key: r.get("default_table_expiration_ms") for r in of_type("google_bigquery_dataset") if r.key}
    assert found == {"raw": None, "candidates": week, "strategy": None, "staging": week, "evaluation": week}


def test_row_3_images_are_kept_by_artifact_registry_and_tags_do_not_move() -> None:
    images = one("google_artifact_registry_repository", name="images")
    assert images.one("docker_config")["immutable_tags"] is True
    policies = {p["id"]: p for p in images["cleanup_policies"]}
    assert policies["keep-newest"]["most_recent_versions"][0]["keep_count"] >= 20
    deleted = [p["condition"][0]["tag_state"] for p in policies.values() if p["action"] == "DELETE"]
    assert deleted == ["UNTAGGED"], "no release that may still run is deleted"


def test_secrets_are_named_and_no_value_is_in_the_files() -> None:
    assert of_type("google_secret_manager_secret")
    assert not [r.address for r in plan() if r.type == "google_secret_manager_secret_version"]
