"""A version is uploaded once, under the one Model of its type, whatever answers are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest

from f1_training.core.settings import Settings
from f1_training.vertex.client import VertexClient
from f1_training.vertex.endpoints import VertexEndpoints
from f1_training.vertex.models import VersionSpec, VertexModels
from tests.unit.vertex.conftest import SECTION, deployed
from trainer.contract import ContractError, FailureReason, TrainingFailure

if TYPE_CHECKING:
    from tests.fakes.vertex import VertexServer

Code = grpc.StatusCode
MODEL = "projects/f1-project/locations/europe-west4/models/f1-tire_degradation"
FIRST = VersionSpec(
    model_type="tire_degradation",
    version="20260101-000000-aaaaaa",
    engine="xgboost",
    description="Lap time lost to a tyre's age",
    about="700 rounds; test_mae_ms 557",
    artifact_uri="gs://bucket/models/tire_degradation/20260101-000000-aaaaaa",
)
SECOND = replace(FIRST, version="20260201-000000-bbbbbb")


@pytest.fixture
def models(connect: Callable[[Settings], VertexClient]) -> VertexModels:
    settings = deployed()
    return VertexModels(connect(settings), settings.vertex)


def test_the_first_version_makes_the_model(server: VertexServer, models: VertexModels) -> None:
    version = models.ensure(FIRST)
    assert version.name == f"{MODEL}@1"
    ((uploaded,),) = server.models.values()
    assert (uploaded.display_name, uploaded.artifact_uri) == ("tire_degradation", FIRST.artifact_uri)
    assert (uploaded.description, uploaded.version_description) == (FIRST.description, FIRST.about)
    assert dict(uploaded.labels) == {
        "f1-training-model": "tire_degradation",
        "f1-training-version": FIRST.version,
        "f1-training-engine": "xgboost",
    }
    container = uploaded.container_spec
    assert (container.image_uri, list(container.command)) == (
        SECTION["serving_image"], ["python", "-m", "trainer.serve"],
    )  # fmt: skip
    assert (container.health_route, container.predict_route) == ("/health", "/predict")
    assert [port.container_port for port in container.ports] == [8080]
    (request,) = server.calls("UploadModel")
    assert (request.parent, request.parent_model) == ("projects/f1-project/locations/europe-west4", "")


def test_the_second_version_has_the_same_parent(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    assert models.ensure(SECOND).name == f"{MODEL}@2"
    assert server.calls("UploadModel")[-1].parent_model == MODEL
    assert server.versions() == [(FIRST.version, ["default"]), (SECOND.version, [])]


def test_a_model_that_somebody_else_made_is_found_by_its_label(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    theirs = MODEL.replace("f1-tire_degradation", "1234567890")
    server.models[theirs] = server.models.pop(MODEL)
    server.models[theirs][0].name = theirs
    assert models.ensure(SECOND).name == f"{theirs}@2"


def test_another_model_type_has_a_model_of_its_own(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    other = models.ensure(replace(FIRST, model_type="fuel_consumption"))
    assert other.name == f"{MODEL.replace('tire_degradation', 'fuel_consumption')}@1"


def test_uploading_again_changes_nothing(server: VertexServer, models: VertexModels) -> None:
    for spec in (FIRST, SECOND):
        assert models.ensure(spec).name == models.ensure(spec).name
    assert len(server.calls("UploadModel")) == 2


@pytest.mark.parametrize("earlier", [(), (FIRST,)])
def test_a_lost_answer_makes_no_second_version(
    server: VertexServer, models: VertexModels, earlier: tuple[VersionSpec, ...]
) -> None:
    for spec in earlier:
        models.ensure(spec)
    server.fail("UploadModel", Code.UNAVAILABLE, "connection reset", after=True)
    with pytest.raises(TrainingFailure, match="connection reset") as caught:
        models.ensure(SECOND)
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    assert models.ensure(SECOND).version_id == str(len(earlier) + 1)
    assert [version for version, _ in server.versions()] == [*(s.version for s in earlier), SECOND.version]


@pytest.mark.parametrize("earlier", [(), (FIRST,)])
def test_an_upload_that_still_runs_is_waited_for(
    server: VertexServer, models: VertexModels, earlier: tuple[VersionSpec, ...]
) -> None:
    for spec in earlier:
        models.ensure(spec)
    server.looks = 4
    server.fail("UploadModel", Code.UNAVAILABLE, "connection reset", after=True)
    with pytest.raises(TrainingFailure, match="connection reset"):
        models.ensure(SECOND)
    assert [version for version, _ in server.versions()] == [s.version for s in earlier]
    models.ensure(SECOND)
    assert [version for version, _ in server.versions()] == [*(s.version for s in earlier), SECOND.version]


def test_a_long_upload_is_followed_through_a_failing_look(server: VertexServer, models: VertexModels) -> None:
    server.looks = 3
    server.fail("GetOperation", Code.UNAVAILABLE)
    assert models.ensure(FIRST).version_id == "1"
    assert len(server.calls("GetOperation")) >= 3


def test_an_upload_has_a_deadline(server: VertexServer, connect: Callable[[Settings], VertexClient]) -> None:
    settings = deployed(upload_within_s=0.1)
    models = VertexModels(connect(settings), settings.vertex)
    server.looks = 1_000
    with pytest.raises(TrainingFailure, match="upload of gs://bucket/models.* 0.1 seconds") as caught:
        models.ensure(FIRST)
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT
    with pytest.raises(TrainingFailure, match="operations/1 still runs after 0 s"):
        models.ensure(FIRST)
    assert len(server.calls("UploadModel")) == 2


@pytest.mark.parametrize(
    ("code", "message", "reason", "fix"),
    [
        (Code.PERMISSION_DENIED, "not you", FailureReason.PERMISSION_DENIED, "roles/aiplatform.user"),
        (Code.UNAUTHENTICATED, "who", FailureReason.PERMISSION_DENIED, "credentials that work"),
        (Code.RESOURCE_EXHAUSTED, "Quota exceeded", FailureReason.RESOURCE_EXHAUSTED, "raise Vertex AI's quota"),
        (Code.DEADLINE_EXCEEDED, "too slow", FailureReason.NETWORK_TIMEOUT, "$"),
        (Code.UNAVAILABLE, "later", FailureReason.NETWORK_TIMEOUT, "$"),
        (Code.INTERNAL, "oops", FailureReason.NETWORK_TIMEOUT, "$"),
        (Code.ABORTED, "conflict", FailureReason.NETWORK_TIMEOUT, "somebody else changed it"),
        (Code.INVALID_ARGUMENT, "no such image", FailureReason.CONFIG_INVALID, "correct the section vertex"),
        (Code.NOT_FOUND, "no such project", FailureReason.CONFIG_INVALID, "correct the section vertex"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_is_refused_has_a_reason_and_a_fix(
    server: VertexServer,
    models: VertexModels,
    code: grpc.StatusCode,
    message: str,
    reason: FailureReason,
    fix: str,
    late: bool,
) -> None:
    if late:
        server.failing["UploadModel"] = (code, message)
    else:
        server.fail("UploadModel", code, message)
    with pytest.raises(TrainingFailure, match=f"^upload of gs://bucket/models/tire.*: {message}.*{fix}") as caught:
        models.ensure(FIRST)
    assert caught.value.reason is reason
    assert server.versions() == []


def test_looking_is_tried_again_while_the_service_is_away(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    for method in ("ListModels", "ListModelVersions", "ListOperations"):
        server.fail(method, Code.UNAVAILABLE)
    assert models.ensure(FIRST).version_id == "1"


def test_two_models_with_the_label_are_refused(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    server.models[f"{MODEL}-copy"] = [type(m)(m, name=f"{MODEL}-copy") for m in server.models[MODEL]]
    with pytest.raises(TrainingFailure, match="have the label f1-training-model=tire_degradation; take it from all bu"):
        models.ensure(SECOND)


def test_a_model_of_that_id_without_the_label_is_refused(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    server.models[MODEL][0].labels = {}
    with pytest.raises(TrainingFailure, match="is there without the label f1-training-model=tire_degradation; give"):
        models.ensure(SECOND)


def test_the_aliases_move_and_are_left_where_they_are(server: VertexServer, models: VertexModels) -> None:
    models.point(models.ensure(FIRST))
    models.point(models.ensure(SECOND))
    assert server.versions() == [(FIRST.version, []), (SECOND.version, ["champion", "default"])]
    models.point(models.ensure(SECOND))
    assert len(server.calls("MergeVersionAliases")) == 2
    models.point(models.ensure(FIRST))
    assert server.versions() == [(FIRST.version, ["champion", "default"]), (SECOND.version, [])]


def test_a_version_that_nobody_needs_is_deleted_once(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    models.point(models.ensure(SECOND))
    server.looks = 2
    assert models.retire(FIRST.model_type, FIRST.version) == ""
    assert server.versions() == [(SECOND.version, ["champion", "default"])]
    assert models.retire(FIRST.model_type, FIRST.version) == ""
    assert len(server.calls("DeleteModelVersion")) == 1
    assert models.retire("fuel_consumption", FIRST.version) == "", "a model that was never uploaded"


@pytest.mark.parametrize("aliases", [["default"], ["champion"], ["the-one-that-won-monza"]])
def test_a_version_with_any_alias_stays(server: VertexServer, models: VertexModels, aliases: list[str]) -> None:
    for spec in (FIRST, SECOND):
        models.ensure(spec)
    server.models[MODEL][0].version_aliases = aliases
    server.models[MODEL][1].version_aliases = ["default"] if aliases != ["default"] else []
    assert models.retire(FIRST.model_type, FIRST.version) == f"{MODEL}@1 is {aliases[0]} in Vertex AI"
    assert len(server.versions()) == 2
    assert server.calls("DeleteModelVersion") == []


def test_a_version_that_is_deployed_stays(
    server: VertexServer, models: VertexModels, connect: Callable[[Settings], VertexClient]
) -> None:
    first = models.ensure(FIRST)
    models.point(models.ensure(SECOND))
    settings = deployed()
    VertexEndpoints(connect(settings), settings.vertex).deploy(first, "f1-tire-degradation", 100)
    why = models.retire(FIRST.model_type, FIRST.version)
    assert why == f"{MODEL}@1 is deployed to {MODEL.rpartition('/models')[0]}/endpoints/f1-tire-degradation"
    assert server.calls("DeleteModelVersion") == []


def test_what_vertex_keeps_stays_and_an_answer_that_is_lost_is_no_failure(
    server: VertexServer, models: VertexModels
) -> None:
    models.ensure(FIRST)
    models.point(models.ensure(SECOND))
    server.failing["DeleteModelVersion"] = (Code.FAILED_PRECONDITION, "deployed a moment ago")
    assert models.retire(FIRST.model_type, FIRST.version) == f"Vertex AI keeps {MODEL}@1: deployed a moment ago"
    server.fail("DeleteModelVersion", Code.UNAVAILABLE, after=True)
    assert models.retire(FIRST.model_type, FIRST.version) == ""
    assert len(server.versions()) == 1


def test_a_refused_deletion_has_its_reason(server: VertexServer, models: VertexModels) -> None:
    models.ensure(FIRST)
    models.point(models.ensure(SECOND))
    server.fail("DeleteModelVersion", Code.PERMISSION_DENIED, "not you")
    with pytest.raises(TrainingFailure, match=f"^{MODEL}@1: not you.*roles/aiplatform.user") as caught:
        models.retire(FIRST.model_type, FIRST.version)
    assert caught.value.reason is FailureReason.PERMISSION_DENIED


@pytest.mark.parametrize(("name", "value"), [("model_type", "Tire"), ("version", "1.2"), ("version", "x" * 64)])
def test_what_cannot_be_a_label_is_refused_before_anything_is_asked(name: str, value: str) -> None:
    with pytest.raises(ContractError, match=f"^{name}: .*cannot be a label"):
        replace(FIRST, **{name: value})
