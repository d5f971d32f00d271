"""The tasks: what the registry says is what Vertex AI gets, also after a rollback, and nothing unless asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from composer.local.gcs.testing import running_gcs
from f1_training.core.plan import RunPlan
from f1_training.core.settings import Settings
from f1_training.operators import (
    DeployToVertexOperator,
    FollowChampionOnVertexOperator,
    RetireOperator,
    RollBackOperator,
    UploadToVertexOperator,
)
from f1_training.registry.store import Registry
from f1_training.vertex.client import VertexClient
from tests.fakes.run_plan import BOOSTER, make_plan, settings
from tests.unit.registry.test_store import make_card
from tests.unit.vertex.conftest import deployed

if TYPE_CHECKING:
    from tests.fakes.vertex import VertexServer

Code = grpc.StatusCode
MODEL = "tire_degradation"
A, B, C = "20260101-000000-aaaaaa", "20260201-000000-bbbbbb", "20260301-000000-cccccc"
ENDPOINTS = {"endpoints": {MODEL: "f1-tire-degradation"}}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``gs://bucket`` leads to the stand-in."""
    # Read when gcsfs is imported: its control plane would ask Google what kind of bucket this is.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import gcsfs

    gcsfs.GCSFileSystem.clear_instance_cache()
    with running_gcs(tmp_path) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield
    gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.fixture
def world(
    bucket: None,
    server: VertexServer,
    connect: Callable[[Settings], VertexClient],
    monkeypatch: pytest.MonkeyPatch,
) -> VertexServer:
    monkeypatch.setattr(VertexClient, "connect", connect)
    return server


class Run:
    """A run of the DAG that has registered a version."""

    def __init__(self, version: str, *, champion: bool, **section: Any) -> None:
        self.plan: RunPlan = make_plan(deployed(**section))
        self.version = version
        self.registered = {"version": version, "champion": champion, "reason": "is no better"}
        registry = Registry(self.plan.settings.uris.models)
        card = make_card(make_plan(), version)
        registry.register(card, BOOSTER)
        if champion:
            registry.promote(card, "better", "2026-03-01T00:00:00Z")

    def upload(self) -> Any:
        return UploadToVertexOperator(task_id="u", plan=self.plan.to_xcom(), registered=self.registered).execute({})

    def deploy(self) -> Any:
        return DeployToVertexOperator(task_id="d", plan=self.plan.to_xcom(), registered=self.registered).execute({})


def test_a_champion_has_the_alias_and_a_version_that_was_not_promoted_has_none(world: VertexServer) -> None:
    uploaded = Run(A, champion=True).upload()
    assert uploaded["champion"] == uploaded["version"]
    not_promoted = Run(B, champion=False).upload()
    assert not_promoted["champion"] == uploaded["version"]
    assert not_promoted["version"].endswith("@2")
    assert world.versions() == [(A, ["champion", "default"]), (B, [])]
    first = world.models[uploaded["version"].partition("@")[0]][0]
    assert first.artifact_uri == f"gs://bucket/models/{MODEL}/{A}"
    assert "test_mae_ms 557" in first.version_description


def test_without_any_champion_there_is_no_alias(world: VertexServer) -> None:
    assert Run(A, champion=False).upload()["champion"] == ""
    assert world.versions() == [(A, ["default"])]


def test_the_aliases_move_with_a_promotion(world: VertexServer) -> None:
    for version in (A, B):
        Run(version, champion=True).upload()
    assert world.versions() == [(A, []), (B, ["champion", "default"])]


def test_again_and_after_a_lost_answer_there_is_one_version(world: VertexServer) -> None:
    run = Run(A, champion=True)
    world.fail("UploadModel", Code.UNAVAILABLE, after=True)
    with pytest.raises(AirflowException, match="^NetworkTimeout: upload of gs://bucket") as caught:
        run.upload()
    assert not isinstance(caught.value, AirflowFailException)
    assert run.upload() == run.upload()
    assert world.versions() == [(A, ["champion", "default"])]
    assert len(world.calls("UploadModel")) == 1


def test_a_champion_from_before_vertex_was_used_is_uploaded_too(world: VertexServer) -> None:
    Run(A, champion=True)
    Run(B, champion=False).upload()
    assert world.versions() == [(B, []), (A, ["champion", "default"])]


def test_an_old_run_that_is_cleared_does_not_take_the_alias_back(world: VertexServer) -> None:
    old = Run(A, champion=True)
    Run(B, champion=True).upload()
    old.upload()
    assert world.versions() == [(B, ["champion", "default"]), (A, [])]


def test_a_promotion_while_the_alias_is_moved_wins(world: VertexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(A, champion=True)
    merge, runs = VertexClient.merge_aliases, [B]

    def promoted_meanwhile(client: VertexClient, *arguments: Any) -> None:
        if runs:
            Run(runs.pop(), champion=True)
        merge(client, *arguments)

    monkeypatch.setattr(VertexClient, "merge_aliases", promoted_meanwhile)
    run.upload()
    assert world.versions() == [(A, []), (B, ["champion", "default"])]


def test_what_is_refused_ends_the_task_and_leaves_the_registration(world: VertexServer) -> None:
    run = Run(A, champion=True)
    world.fail("UploadModel", Code.PERMISSION_DENIED, "not you")
    with pytest.raises(AirflowFailException, match="^PermissionDenied: upload of .*roles/aiplatform.user"):
        run.upload()
    champion = Registry(run.plan.settings.uris.models).champion(MODEL)
    assert champion is not None
    assert champion.version == A


@pytest.fixture
def retired(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """The DAG ``f1_model_retention``, long after all versions were made; its answer."""
    of = deployed(models_kept=1)
    monkeypatch.setattr("f1_training.operators.rollback.deployed_settings", lambda: of)
    return lambda: RetireOperator(task_id="retire").execute({})


def left() -> list[str]:
    return Registry(deployed().uris.models).versions(MODEL)


def test_a_version_goes_from_vertex_and_from_the_registry(world: VertexServer, retired: Callable[[], Any]) -> None:
    for version in (A, B, C):
        Run(version, champion=True).upload()
    assert retired() == {MODEL: [A]}
    assert left() == [B, C], "the champion and the one that it replaced stay"
    assert world.versions() == [(B, []), (C, ["champion", "default"])]
    assert retired() == {}


def test_a_version_that_somebody_named_in_vertex_stays_in_both(world: VertexServer, retired: Callable[[], Any]) -> None:
    for version in (A, B, C):
        Run(version, champion=True).upload()
    (versions,) = world.models.values()
    versions[0].version_aliases = ["monza"]
    assert retired() == {}
    assert left() == [A, B, C]


@pytest.mark.parametrize("code", [Code.PERMISSION_DENIED, Code.INTERNAL])
def test_when_vertex_fails_the_registry_is_whole_and_the_next_try_goes_on(
    world: VertexServer, retired: Callable[[], Any], code: Any
) -> None:
    for version in (A, B, C):
        Run(version, champion=True).upload()
    world.failing["DeleteModelVersion"] = (code, "because")
    with pytest.raises(AirflowException, match="because"):
        retired()
    assert left() == [A, B, C]
    assert Registry(deployed().uris.models).model(MODEL, A).version == A
    assert retired() == {MODEL: [A]}


def test_what_was_never_uploaded_goes_without_vertex(world: VertexServer, retired: Callable[[], Any]) -> None:
    for version in (A, B, C):
        Run(version, champion=True)
    assert retired() == {MODEL: [A]}
    assert {method for method, _ in world.asked} == {"ListModels"}


@pytest.fixture
def rolled_back(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Both tasks of the DAG ``f1_model_rollback``; the second one's answer."""

    def roll_back(**section: Any) -> Any:
        for module in ("rollback", "vertex"):
            where = f"f1_training.operators.{module}.deployed_settings"
            monkeypatch.setattr(where, lambda: deployed(**section))
        operator = RollBackOperator(task_id="roll_back", model_type=MODEL, version="", reason="too late")
        operator.execute({"dag_run": SimpleNamespace(run_id="manual__1", triggering_user_name="ann")})
        return FollowChampionOnVertexOperator(task_id="follow", model_type=MODEL).execute({})

    return roll_back


def test_a_rollback_moves_the_alias_back(world: VertexServer, rolled_back: Callable[..., Any]) -> None:
    for version in (A, B):
        Run(version, champion=True).upload()
    assert rolled_back()["endpoint"] == ""
    assert world.versions() == [(A, ["champion", "default"]), (B, [])]
    assert world.endpoints == {}


def test_a_rollback_takes_all_requests_back(world: VertexServer, rolled_back: Callable[..., Any]) -> None:
    for version in (A, B):
        run = Run(version, champion=True, traffic_percent=20, **ENDPOINTS)
        run.upload()
        deployment = run.deploy()
    assert sorted(deployment["traffic"].values()) == [20, 80]
    rolled_back(traffic_percent=20, **ENDPOINTS)
    (endpoint,) = world.endpoints.values()
    assert [d.model_version_id for d in endpoint.deployed_models] == ["1"]


def test_a_champion_is_deployed_with_its_share_and_again_changes_nothing(world: VertexServer) -> None:
    Run(A, champion=True, **ENDPOINTS).deploy()
    run = Run(B, champion=True, traffic_percent=10, **ENDPOINTS)
    deployment = run.deploy()
    assert deployment["traffic"][deployment["deployed"]] == 10
    assert run.deploy() == deployment
    assert len(world.calls("DeployModel")) == 2


@pytest.mark.parametrize(
    ("champion", "section", "said"),
    [
        (True, {}, "vertex.endpoints in the Variable f1_training names no endpoint of tire_degradation"),
        (True, {"endpoints": {"fuel_consumption": "fuel"}}, "names no endpoint of tire_degradation"),
        (False, ENDPOINTS, "the version is not champion: is no better"),
    ],
)
def test_nothing_is_deployed_unless_it_is_asked_for(
    world: VertexServer, champion: bool, section: dict[str, Any], said: str
) -> None:
    with pytest.raises(AirflowSkipException, match=said):
        Run(A, champion=champion, **section).deploy()
    assert world.asked == []


def test_who_is_not_champion_any_more_is_not_deployed(world: VertexServer) -> None:
    old = Run(A, champion=True, **ENDPOINTS)
    Run(B, champion=True)
    with pytest.raises(AirflowSkipException, match=f"{A} is not the champion any more, which is {B}"):
        old.deploy()
    assert world.asked == []


def test_without_a_region_nothing_is_asked(server: VertexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(make_plan(), settings=settings()).to_xcom()
    registered = {"version": A, "champion": True, "reason": ""}
    monkeypatch.setattr("f1_training.operators.vertex.deployed_settings", settings)
    for operator, said in (
        (UploadToVertexOperator(task_id="u", plan=plan, registered=registered), "vertex.region .* is not set"),
        (DeployToVertexOperator(task_id="d", plan=plan, registered=registered), "names no endpoint"),
        (FollowChampionOnVertexOperator(task_id="f", model_type=MODEL), "vertex.region .* is not set"),
    ):
        with pytest.raises(AirflowSkipException, match=said):
            operator.execute({})
