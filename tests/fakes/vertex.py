"""A server of Vertex AI's API over gRPC, with Google's own messages: its Model Registry, its endpoints, its operations.

It refuses what Vertex AI refuses, as far as this package could do it wrong: ids and labels of the wrong form, a parent
that is not there, an id that is taken, shares that do not add up to 100, a deployment that is taken away while it gets
requests, a change of what somebody else has changed. Faults are ordered by the method's name.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.types import endpoint_service, model_service, operation
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import status_pb2

PACKAGE = "google.cloud.aiplatform.v1"
LOCATION = re.compile(r"projects/[^/]+/locations/[^/]+")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
ALIAS = re.compile(r"-?[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
EQUALS = re.compile(r'(?:labels\.([a-z0-9_-]+)|(display_name))="([^"]*)"')
Code = grpc.StatusCode


class Refusal(Exception):
    def __init__(self, code: Any, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Fault:
    """A request that fails: ``after`` what was asked for was done, as when only the answer is lost."""

    code: Any
    message: str
    after: bool = False


@dataclass
class Running:
    """An operation that is done when it has been looked at ``looks`` times; what it does, it does then."""

    body: Any
    finish: Callable[[], Any]
    looks: int


@dataclass
class VertexServer:
    """State, faults, and what was asked. ``looks``: how often an operation is looked at before it is done."""

    models: dict[str, list[Any]] = field(default_factory=dict)
    endpoints: dict[str, Any] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    #: Operations of this method end with this code and message.
    failing: dict[str, tuple[Any, str]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    looks: int = 0
    port: int = 0
    numbers: int = 0
    lock: Any = field(default_factory=threading.RLock)

    def fail(self, method: str, code: Any, message: str = "because", *, after: bool = False) -> None:
        """Let the next call of ``method`` fail."""
        self.faults.setdefault(method, []).append(Fault(code=code, message=message, after=after))

    def calls(self, method: str) -> list[Any]:
        """The requests to ``method``."""
        return [request for name, request in self.asked if name == method]

    def versions(self) -> list[tuple[str, list[str]]]:
        """Every version's label and aliases, in order."""
        return [(v.labels["f1-training-version"], sorted(v.version_aliases)) for m in self.models.values() for v in m]

    # ---- ModelService

    def upload_model(self, request: Any) -> Any:
        _check(bool(LOCATION.fullmatch(request.parent)), f"parent {request.parent!r}")
        model = types.Model.deserialize(types.Model.serialize(request.model))
        _check(bool(model.display_name), "display_name is required")
        _check(bool(model.container_spec.image_uri), "container_spec.image_uri is required")
        _check(model.artifact_uri.startswith("gs://"), f"artifact_uri {model.artifact_uri!r}")
        _check(all(LABEL_VALUE.fullmatch(v) for v in model.labels.values()), f"labels {dict(model.labels)}")
        if request.parent_model:
            if request.parent_model not in self.models:
                raise Refusal(Code.NOT_FOUND, f"{request.parent_model} does not exist")
            name = request.parent_model
        else:
            _check(bool(MODEL_ID.fullmatch(request.model_id)), f"model_id {request.model_id!r}")
            name = f"{request.parent}/models/{request.model_id}"
            if name in self.models or any(o.startswith(f"{name}/") for o in self.running):
                raise Refusal(Code.ALREADY_EXISTS, f"{name} already exists")

        def finish() -> Any:
            versions = self.models.setdefault(name, [])
            model.name, model.version_id = name, str(max((int(v.version_id) for v in versions), default=0) + 1)
            model.version_aliases = [] if versions else ["default"]
            versions.append(model)
            return model_service.UploadModelResponse(model=name, model_version_id=model.version_id)

        return self._operation("UploadModel", name, model_service.UploadModelOperationMetadata, finish)

    def list_models(self, request: Any) -> Any:
        defaults = [
            next(v for v in versions if "default" in v.version_aliases)
            for name, versions in self.models.items()
            if name.startswith(f"{request.parent}/")
        ]
        return model_service.ListModelsResponse(models=[m for m in defaults if _fits(m, request.filter)])

    def list_model_versions(self, request: Any) -> Any:
        found = [v for v in self._versions(request.name) if _fits(v, request.filter)]
        for version in found:
            version.deployed_models = self._deployments(version)
        return model_service.ListModelVersionsResponse(models=found)

    def delete_model_version(self, request: Any) -> Any:
        name, _, number = request.name.partition("@")
        versions = self._versions(name)
        version = next((v for v in versions if v.version_id == number), None)
        if version is None:
            raise Refusal(Code.NOT_FOUND, f"{request.name} does not exist")
        if self._deployments(version) or "default" in version.version_aliases:
            raise Refusal(Code.FAILED_PRECONDITION, f"{request.name} is deployed, or the default version")

        def finish() -> Any:
            versions.remove(version)
            return empty_pb2.Empty()

        return self._operation("DeleteModelVersion", name, operation.DeleteOperationMetadata, finish)

    def _deployments(self, version: Any) -> list[Any]:
        return [
            types.DeployedModelRef(endpoint=endpoint.name, deployed_model_id=deployed.id)
            for endpoint in self.endpoints.values()
            for deployed in endpoint.deployed_models
            if (deployed.model, deployed.model_version_id) == (version.name, version.version_id)
        ]

    def merge_version_aliases(self, request: Any) -> Any:
        name, _, number = request.name.partition("@")
        _check(number.isdigit(), f"{request.name} names no version")
        _check(all(ALIAS.fullmatch(a) for a in request.version_aliases), f"aliases {list(request.version_aliases)}")
        for version in self._versions(name):
            mine = version.version_id == number
            kept = [a for a in version.version_aliases if a not in request.version_aliases]
            version.version_aliases = [*kept, *request.version_aliases] if mine else kept
        return next(v for v in self._versions(name) if v.version_id == number)

    # ---- EndpointService

    def list_endpoints(self, request: Any) -> Any:
        found = [e for e in self.endpoints.values() if _fits(e, request.filter)]
        return endpoint_service.ListEndpointsResponse(endpoints=found)

    def get_endpoint(self, request: Any) -> Any:
        return self._endpoint(request.name)

    def create_endpoint(self, request: Any) -> Any:
        name = f"{request.parent}/endpoints/{request.endpoint_id}"
        if name in self.endpoints or any(o.startswith(f"{name}/") for o in self.running):
            raise Refusal(Code.ALREADY_EXISTS, f"{name} already exists")

        def finish() -> Any:
            made = types.Endpoint.deserialize(types.Endpoint.serialize(request.endpoint))
            made.name, made.etag = name, self._number()
            self.endpoints[name] = made
            return made

        return self._operation("CreateEndpoint", name, endpoint_service.CreateEndpointOperationMetadata, finish)

    def update_endpoint(self, request: Any) -> Any:
        _check(list(request.update_mask.paths) == ["traffic_split"], "update_mask")
        endpoint = self._endpoint(request.endpoint.name)
        if request.endpoint.etag != endpoint.etag:
            raise Refusal(Code.ABORTED, "the endpoint has changed")
        self._divide(endpoint, dict(request.endpoint.traffic_split))
        return endpoint

    def deploy_model(self, request: Any) -> Any:
        endpoint, deployed = self._endpoint(request.endpoint), request.deployed_model
        name, _, number = deployed.model.partition("@")
        if not [v for v in self._versions(name) if v.version_id == number]:
            raise Refusal(Code.NOT_FOUND, f"{deployed.model} does not exist")
        _check(bool(deployed.dedicated_resources.machine_spec.machine_type), "machine_type is required")

        def finish() -> Any:
            made = types.DeployedModel.deserialize(types.DeployedModel.serialize(deployed))
            made.id, made.model, made.model_version_id = self._number(), name, number
            endpoint.deployed_models = [*endpoint.deployed_models, made]
            split = {made.id if k == "0" else k: v for k, v in request.traffic_split.items()}
            self._divide(endpoint, split)
            return endpoint_service.DeployModelResponse(deployed_model=made)

        kind = endpoint_service.DeployModelOperationMetadata
        return self._operation("DeployModel", endpoint.name, kind, finish)

    def undeploy_model(self, request: Any) -> Any:
        endpoint = self._endpoint(request.endpoint)
        if endpoint.traffic_split.get(request.deployed_model_id):
            raise Refusal(Code.FAILED_PRECONDITION, f"{request.deployed_model_id} has traffic")

        def finish() -> Any:
            left = [d for d in endpoint.deployed_models if d.id != request.deployed_model_id]
            endpoint.deployed_models = left
            return endpoint_service.UndeployModelResponse()

        kind = endpoint_service.UndeployModelOperationMetadata
        return self._operation("UndeployModel", endpoint.name, kind, finish)

    # ---- Operations

    def get_operation(self, request: Any) -> Any:
        return self._looked_at(self.running[request.name])

    def list_operations(self, request: Any) -> Any:
        mine = [r for n, r in self.running.items() if n.startswith(f"{request.name}/operations/")]
        return operations_pb2.ListOperationsResponse(operations=[self._looked_at(r) for r in mine])

    def _operation(self, method: str, resource: str, kind: Any, finish: Callable[[], Any]) -> Any:
        body = operations_pb2.Operation(name=f"{resource}/operations/{self._number()}")
        body.metadata.Pack(kind.pb(kind()))
        if method in self.failing:
            code, message = self.failing.pop(method)
            body.error.CopyFrom(status_pb2.Status(code=code.value[0], message=message))
            body.done = True
            return body
        self.running[body.name] = Running(body=body, finish=finish, looks=self.looks + 1)
        return self._looked_at(self.running[body.name])

    @staticmethod
    def _looked_at(running: Running) -> Any:
        running.looks -= 1
        if running.looks <= 0 and not running.body.done:
            done = running.finish()
            running.body.response.Pack(type(done).pb(done) if hasattr(type(done), "pb") else done)
            running.body.done = True
        return running.body

    def _versions(self, name: str) -> list[Any]:
        if name not in self.models:
            raise Refusal(Code.NOT_FOUND, f"{name} does not exist")
        return self.models[name]

    def _endpoint(self, name: str) -> Any:
        if name not in self.endpoints:
            raise Refusal(Code.NOT_FOUND, f"{name} does not exist")
        return self.endpoints[name]

    def _divide(self, endpoint: Any, split: dict[str, int]) -> None:
        _check(sum(split.values()) == 100, f"traffic_split {split} does not add up to 100")
        known = {d.id for d in endpoint.deployed_models}
        _check(set(split) <= known, f"traffic_split {split} names what is not deployed: {known}")
        endpoint.traffic_split = {**dict.fromkeys(known, 0), **split}
        endpoint.etag = self._number()

    def _number(self) -> str:
        self.numbers += 1
        return str(self.numbers)


def _check(fits: bool, problem: str) -> None:
    if not fits:
        raise Refusal(Code.INVALID_ARGUMENT, f"invalid: {problem}")


def _fits(found: Any, wanted: str) -> bool:
    match = EQUALS.fullmatch(wanted)
    _check(match is not None, f"filter {wanted!r}")
    assert match is not None
    label, _, value = match.groups()
    return bool((found.labels.get(label) if label else found.display_name) == value)


SERVICES: dict[str, dict[str, tuple[Any, Any]]] = {
    f"{PACKAGE}.ModelService": {
        "UploadModel": (model_service.UploadModelRequest, operations_pb2.Operation),
        "ListModels": (model_service.ListModelsRequest, model_service.ListModelsResponse),
        "ListModelVersions": (model_service.ListModelVersionsRequest, model_service.ListModelVersionsResponse),
        "DeleteModelVersion": (model_service.DeleteModelVersionRequest, operations_pb2.Operation),
        "MergeVersionAliases": (model_service.MergeVersionAliasesRequest, types.Model),
    },
    f"{PACKAGE}.EndpointService": {
        "ListEndpoints": (endpoint_service.ListEndpointsRequest, endpoint_service.ListEndpointsResponse),
        "GetEndpoint": (endpoint_service.GetEndpointRequest, types.Endpoint),
        "CreateEndpoint": (endpoint_service.CreateEndpointRequest, operations_pb2.Operation),
        "UpdateEndpoint": (endpoint_service.UpdateEndpointRequest, types.Endpoint),
        "DeployModel": (endpoint_service.DeployModelRequest, operations_pb2.Operation),
        "UndeployModel": (endpoint_service.UndeployModelRequest, operations_pb2.Operation),
    },
    "google.longrunning.Operations": {
        "GetOperation": (operations_pb2.GetOperationRequest, operations_pb2.Operation),
        "ListOperations": (operations_pb2.ListOperationsRequest, operations_pb2.ListOperationsResponse),
        "CancelOperation": (operations_pb2.CancelOperationRequest, empty_pb2.Empty),
    },
}


def _handler(state: VertexServer, method: str, kinds: tuple[Any, Any]) -> Any:
    asked, answered = kinds
    work = getattr(state, re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower(), None)

    def handle(request: Any, context: Any) -> Any:
        with state.lock:
            state.asked.append((method, request))
            faults = state.faults.get(method) or []
            fault = faults.pop(0) if faults else None
            if fault is not None and not fault.after:
                context.abort(fault.code, fault.message)
            if work is None:
                context.abort(Code.UNIMPLEMENTED, method)
            try:
                answer = work(request)
            except Refusal as e:
                context.abort(e.code, str(e))
            if fault is not None:
                context.abort(fault.code, fault.message)
            return answer

    read = asked.deserialize if hasattr(asked, "deserialize") else asked.FromString
    write = answered.serialize if hasattr(answered, "serialize") else answered.SerializeToString
    return grpc.unary_unary_rpc_method_handler(handle, read, write)


@contextlib.contextmanager
def running() -> Iterator[VertexServer]:
    """A server on a free port of the loopback interface."""
    state = VertexServer()
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    for service, methods in SERVICES.items():
        handlers = {name: _handler(state, name, kinds) for name, kinds in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    state.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield state
    finally:
        server.stop(None).wait(5)
