"""Who may read, write and delete what, computed from every grant and denial of the Terraform files."""

from dataclasses import replace

import pytest

from composer.policy.access import Grant, Thing, UnknownGrantError, access_of
from composer.policy.page import PAGE, render
from composer.policy.plan import Resource
from tests.fakes.infrastructure import PROJECT, access, account, bucket, dataset, of_type, one, plan

READ, WRITE = "bigquery.tables.getData", "bigquery.tables.updateData"
CREATE, GET, LIST, DELETE, REPLACE = (f"storage.objects.{v}" for v in ("create", "get", "list", "delete", "update"))
PODS = ("trainer", "evaluator", "serving", "nodes")
BUCKETS = ("artifacts", "models", "checkpoints", "composer")
PROJECT_WIDE = Thing("project", PROJECT)


def ours(permission: str, thing: Thing) -> set[str]:
    """Which of our accounts have ``permission`` on ``thing``."""
    names = {r["email"]: str(r.key) for r in of_type("google_service_account")}
    return {names[member] for member in access().who(permission, thing) if member in names}


@pytest.mark.parametrize(
    ("data", "readers"),
    [
        ("staging", {"airflow", "trainer", "evaluator"}),
        ("evaluation", {"airflow", "evaluator"}),
        ("strategy", {"airflow"}),
        ("candidates", {"airflow"}),
        ("raw", {"airflow"}),
    ],
)
def test_row_5_rows_are_read_by_whom_they_are_for(data: str, readers: set[str]) -> None:
    assert ours(READ, dataset(data)) == readers


@pytest.mark.parametrize("data", ["staging", "evaluation", "strategy", "candidates", "raw"])
def test_only_airflow_writes_to_bigquery(data: str) -> None:
    for permission in (WRITE, "bigquery.tables.create", "bigquery.tables.delete"):
        assert ours(permission, dataset(data)) == {"airflow"}


def test_row_5_no_right_to_rows_is_given_on_the_project() -> None:
    project = [g for g in access().grants if g.thing == PROJECT_WIDE]
    assert not [g for g in project if {READ, WRITE, "bigquery.tables.export"} & access().roles[g.role]]


def test_row_5_workers_may_open_sessions_and_jobs() -> None:
    roles = {g.role for g in access().grants if g.member == account("trainer") and g.thing == PROJECT_WIDE}
    assert roles == {"roles/bigquery.jobUser", "roles/bigquery.readSessionUser"}


def test_row_5_no_grant_depends_on_a_condition() -> None:
    assert not [r.address for r in plan() if "_iam_member" in r.type and "condition" in r.arguments]


@pytest.mark.parametrize(
    ("where", "trainer", "evaluator", "serving"),
    [
        ("checkpoints", {CREATE, GET, LIST}, set(), set()),
        ("artifacts", {CREATE, GET, LIST}, {CREATE, GET, LIST}, set()),
        ("models", {GET, LIST}, {GET, LIST}, {GET, LIST}),
        ("composer", set(), set(), set()),
    ],
)
def test_row_6_pods_create_and_read_where_they_must(
    where: str, trainer: set[str], evaluator: set[str], serving: set[str]
) -> None:
    for name, wanted in (("trainer", trainer), ("evaluator", evaluator), ("serving", serving)):
        found = {p for p in access().permissions(account(name), bucket(where)) if p.startswith("storage.")}
        assert found == wanted, name


@pytest.mark.parametrize("where", BUCKETS)
def test_row_6_no_pod_deletes_or_replaces_anything(where: str) -> None:
    allowed = {"airflow", "deployer"} if where in ("artifacts", "composer") else {"airflow"}
    assert ours(DELETE, bucket(where)) == allowed
    assert ours(REPLACE, bucket(where)) == allowed


@pytest.mark.parametrize("name", PODS)
def test_row_4_what_is_denied_was_not_granted_either(name: str) -> None:
    granted = replace(access(), denied={}).anywhere(account(name))
    assert not granted & access().denied[account(name)]


def test_row_6_the_custom_role_can_create_and_read_and_no_more() -> None:
    assert set(one("google_project_iam_custom_role", name="checkpoints")["permissions"]) == {CREATE, GET, LIST}


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize("service", ["compute", "iam", "resourcemanager", "container", "aiplatform", "secretmanager"])
def test_pods_have_no_right_over_machines_identities_models_or_secrets(name: str, service: str) -> None:
    assert not [p for p in access().anywhere(account(name)) if p.startswith(f"{service}.")]


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize(
    "permission",
    [
        DELETE,
        WRITE,
        "compute.instances.create",
        "compute.instances.delete",
        "iam.serviceAccounts.actAs",
        "iam.serviceAccountKeys.create",
        "resourcemanager.projects.setIamPolicy",
        "aiplatform.models.upload",
        "secretmanager.versions.access",
    ],
)
def test_row_4_what_is_denied_no_later_grant_gives_back(name: str, permission: str) -> None:
    everything = frozenset({permission})
    grants = (*access().grants, Grant(account(name), "roles/everything", PROJECT_WIDE))
    generous = replace(access(), grants=grants, roles={**access().roles, "roles/everything": everything})
    assert not generous.may(account(name), permission, bucket("models"))
    assert generous.roles["roles/everything"] == everything


def test_row_4_denials_are_deny_policies_on_the_project() -> None:
    for policy in of_type("google_iam_deny_policy"):
        assert policy["parent"] == f"cloudresourcemanager.googleapis.com%2Fprojects%2F{PROJECT}"
        assert all(rule["deny_rule"] for rule in policy["rules"])


def test_airflow_makes_no_machine_and_gives_no_right() -> None:
    may = access().anywhere(account("airflow"))
    assert not [p for p in may if p.startswith("compute.")]
    assert not {p for p in may if p.endswith("setIamPolicy") or p == "iam.serviceAccountKeys.create"}


def test_only_airflow_uploads_to_vertex_ai() -> None:
    assert ours("aiplatform.models.upload", PROJECT_WIDE) == {"airflow"}
    assert ours("aiplatform.endpoints.deploy", PROJECT_WIDE) == {"airflow"}


def test_row_20_airflow_alone_reads_secrets_each_by_itself() -> None:
    secrets = [Thing("secret", r["secret_id"]) for r in of_type("google_secret_manager_secret")]
    assert all(ours("secretmanager.versions.access", secret) == {"airflow"} for secret in secrets)
    assert not ours("secretmanager.versions.access", PROJECT_WIDE)


def test_each_pod_s_account_is_used_by_its_own_kubernetes_account_only() -> None:
    for name in ("trainer", "evaluator"):
        users = access().who("iam.serviceAccounts.getAccessToken", Thing("account", account(name)))
        assert users == {f"{PROJECT}.svc.id.goog[f1-training/{name}]"}


def test_nodes_pull_images_and_read_nothing_else() -> None:
    nodes = access().anywhere(account("nodes"))
    read = {p for p in nodes if p.startswith(("storage.", "bigquery."))}
    assert not read
    assert "artifactregistry.repositories.downloadArtifacts" in nodes


@pytest.mark.parametrize("name", ["trainer", "evaluator", "serving"])
def test_row_24_pods_need_no_right_to_write_logs(name: str) -> None:
    assert not [p for p in access().anywhere(account(name)) if p.startswith(("logging.", "monitoring."))]


def test_nobody_has_a_basic_role_and_no_account_has_a_key() -> None:
    assert not {g.role for g in access().grants} & {"roles/owner", "roles/editor", "roles/viewer"}
    assert not [r for r in plan() if r.type == "google_service_account_key"]


def test_nothing_is_public() -> None:
    assert not {g.member for g in access().grants} & {"allUsers", "allAuthenticatedUsers"}


def test_the_page_is_what_the_files_come_to() -> None:
    assert PAGE.read_text() == render(plan())


@pytest.mark.parametrize(
    ("kind", "arguments", "problem"),
    [
        ("google_project_iam_member", {"role": "roles/unheard.of"}, "roles/unheard.of: say in roles.toml"),
        ("google_project_iam_member", {"role": "roles/bigquery.jobUser", "condition": [{}]}, "has a condition"),
        ("google_project_iam_binding", {"role": "roles/bigquery.jobUser"}, "would take away what others grant"),
    ],
)
def test_a_grant_that_cannot_be_read_is_refused(kind: str, arguments: dict[str, object], problem: str) -> None:
    grant = Resource("x.y", kind, "y", None, {"project": PROJECT, "member": "user:somebody", **arguments}, PROJECT)
    with pytest.raises(UnknownGrantError, match=problem):
        access_of([grant])
