"""Vertex AI through Google's client: the only module that imports it. Its errors are turned into reasons here."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from f1_training.core.settings import Settings
from f1_training.vertex.resources import DeployedVersion, Endpoint, ModelVersion
from trainer.contract import FailureReason, TrainingFailure

log = logging.getLogger(__name__)

#: How long one request may take, and for how long one that fails for the moment is tried again.
REQUEST_S, REQUEST_RETRY_S = 60.0, 120.0
#: How soon an operation is looked at again; Google's client then looks less and less often.
LOOK_S = 2.0
#: Types of the metadata by which operations are told apart.
UPLOAD, CREATE = "UploadModelOperationMetadata", "CreateEndpointOperationMetadata"
DEPLOYS = ("DeployModelOperationMetadata", "UndeployModelOperationMetadata")


class VertexClient:
    """The few things that are asked of Vertex AI, in one region.

    What only reads, or may be done twice, is tried again for two minutes. What makes something is asked for once: a
    caller that got no answer looks whether it is there.

    Args:
        models: a ``google.cloud.aiplatform_v1.ModelServiceClient``.
        endpoints: an ``EndpointServiceClient`` of the same region.
        settings: of the deployment.
        look_s: how soon an operation is looked at again.
    """

    def __init__(self, models: Any, endpoints: Any, settings: Settings, *, look_s: float = LOOK_S) -> None:
        self._models = models
        self._endpoints = endpoints
        self._look_s = look_s
        self.location = f"projects/{settings.project}/locations/{settings.vertex.region}"

    @classmethod
    def connect(cls, settings: Settings) -> VertexClient:
        """Through Airflow's connection ``settings.gcp_conn_id``.

        Raises:
            TrainingFailure: ``PermissionDenied`` when there are no usable credentials.
        """
        from airflow.providers.google.cloud.hooks.vertex_ai.endpoint_service import EndpointServiceHook
        from airflow.providers.google.cloud.hooks.vertex_ai.model_service import ModelServiceHook

        connection, region = settings.gcp_conn_id, settings.vertex.region
        with vertex_errors(f"connection {connection!r}"):
            models = ModelServiceHook(gcp_conn_id=connection).get_model_service_client(region)
            endpoints = EndpointServiceHook(gcp_conn_id=connection).get_endpoint_service_client(region)
        return cls(models, endpoints, settings)

    def models(self, label: str, value: str) -> list[str]:
        """The resource names of the Models whose label has this value."""
        request = {"parent": self.location, "filter": f'labels.{label}="{value}"'}
        with vertex_errors(f"the Models in {self.location}"):
            return [_plain(found.name) for found in self._models.list_models(request, **self._again())]

    def versions(self, model: str, label: str, value: str) -> list[ModelVersion]:
        """The versions of a Model whose label has this value, oldest first."""
        request = {"name": model, "filter": f'labels.{label}="{value}"'}
        with vertex_errors(f"the versions of {model}"):
            found = [_version(v) for v in self._models.list_model_versions(request, **self._again())]
        return sorted(found, key=lambda v: int(v.version_id))

    def upload(
        self, body: Mapping[str, Any], within_s: float, *, parent_model: str = "", model_id: str = ""
    ) -> ModelVersion:
        """Upload a version of ``parent_model``, or the first one of a new Model ``model_id``.

        Raises:
            AlreadyThereError: there is a Model ``model_id``.
            TrainingFailure: what Vertex AI refused; ``NetworkTimeout`` when it did not end, or answer, in time.
        """
        request = {"parent": self.location, "parent_model": parent_model, "model_id": model_id, "model": dict(body)}
        with vertex_errors(f"upload of {body['artifact_uri']}"), _already_there():
            made = self._result(self._models.upload_model(request, timeout=REQUEST_S), within_s)
        return ModelVersion(model=_plain(made.model), version_id=made.model_version_id, labels=body["labels"])

    def merge_aliases(self, version: ModelVersion, aliases: Sequence[str]) -> None:
        """Give a version these aliases; whichever version of the Model had one of them loses it."""
        request = {"name": version.name, "version_aliases": list(aliases)}
        with vertex_errors(version.name):
            self._models.merge_version_aliases(request, **self._again())

    def delete_version(self, version: ModelVersion, within_s: float) -> None:
        """Delete a version; one that is gone already is as it should be.

        Raises:
            InUseError: Vertex AI keeps it, because it is deployed, or the default or the only version of its Model.
            TrainingFailure: what Vertex AI refused; ``NetworkTimeout`` when it did not end, or answer, in time.
        """
        from google.api_core.exceptions import FailedPrecondition, NotFound

        with vertex_errors(version.name):
            try:
                deleting = self._models.delete_model_version({"name": version.name}, **self._again())
                self._result(deleting, within_s)
            except NotFound:
                log.info("%s was gone already", version.name)
            except FailedPrecondition as e:
                raise InUseError(str(e.message)) from e

    def endpoint(self, name: str) -> Endpoint:
        """One endpoint, by its resource name."""
        with vertex_errors(name):
            return _endpoint(self._endpoints.get_endpoint({"name": name}, **self._again()))

    def endpoints(self, display_name: str) -> list[Endpoint]:
        """The endpoints of this display name."""
        request = {"parent": self.location, "filter": f'display_name="{display_name}"'}
        with vertex_errors(f"the endpoints in {self.location}"):
            return [_endpoint(found) for found in self._endpoints.list_endpoints(request, **self._again())]

    def create_endpoint(self, name: str, labels: Mapping[str, str], within_s: float) -> str:
        """Make an endpoint whose id and display name are ``name``; its resource name.

        Raises:
            AlreadyThereError: there is one of this id.
            TrainingFailure: what Vertex AI refused.
        """
        body = {"display_name": name, "labels": dict(labels)}
        request = {"parent": self.location, "endpoint": body, "endpoint_id": name}
        with vertex_errors(f"endpoint {name}"), _already_there():
            created = self._endpoints.create_endpoint(request, timeout=REQUEST_S)
            return str(self._result(created, within_s).name)

    def deploy(self, endpoint: Endpoint, body: Mapping[str, Any], traffic: Mapping[str, int], within_s: float) -> None:
        """Deploy a version, and divide the requests anew at the same stroke."""
        request = {"endpoint": endpoint.name, "deployed_model": dict(body), "traffic_split": dict(traffic)}
        with vertex_errors(f"deployment of {body['model']} to {endpoint.name}"):
            self._result(self._endpoints.deploy_model(request, timeout=REQUEST_S), within_s)

    def undeploy(self, endpoint: Endpoint, deployed: str, within_s: float) -> None:
        """Take a deployment, which gets no requests, from its endpoint."""
        request = {"endpoint": endpoint.name, "deployed_model_id": deployed}
        with vertex_errors(f"deployment {deployed} of {endpoint.name}"):
            self._result(self._endpoints.undeploy_model(request, timeout=REQUEST_S), within_s)

    def set_traffic(self, endpoint: Endpoint, traffic: Mapping[str, int]) -> None:
        """Divide an endpoint's requests anew, unless somebody else has changed it since it was read."""
        body = {"name": endpoint.name, "traffic_split": dict(traffic), "etag": endpoint.etag}
        request = {"endpoint": body, "update_mask": {"paths": ["traffic_split"]}}
        with vertex_errors(f"the traffic of {endpoint.name}"):
            self._endpoints.update_endpoint(request, timeout=REQUEST_S)

    def settle(self, name: str, kinds: Sequence[str], within_s: float) -> None:
        """Wait for operations of these kinds on a resource: an earlier try may have left one running.

        Raises:
            TrainingFailure: ``NetworkTimeout`` when one still runs after ``within_s``.
        """
        end = time.monotonic() + within_s
        while running := self._running(name, kinds):
            if time.monotonic() > end:
                message = (
                    f"{running} still runs after {within_s:.0f} s; the console of Vertex AI shows what it waits for"
                )
                raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message)
            log.info("%s is still running: waiting for it", running)
            time.sleep(self._look_s)

    def _running(self, name: str, kinds: Sequence[str]) -> str:
        token = ""
        with vertex_errors(f"the operations on {name}"):
            while True:
                page = self._models.list_operations({"name": name, "page_token": token}, **self._again())
                for found in page.operations:
                    if not found.done and found.metadata.type_url.endswith(tuple(kinds)):
                        return str(found.name)
                token = page.next_page_token
                if not token:
                    return ""

    def _result(self, operation: Any, within_s: float) -> Any:
        from google.api_core.future.polling import DEFAULT_POLLING

        polling = DEFAULT_POLLING.with_delay(initial=self._look_s)
        return operation.result(timeout=within_s, retry=self._again()["retry"], polling=polling)

    def _again(self) -> dict[str, Any]:
        from google.api_core import exceptions
        from google.api_core.retry import Retry, if_exception_type

        transient = (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded, exceptions.InternalServerError)
        retry = Retry(predicate=if_exception_type(*transient), initial=self._look_s, timeout=REQUEST_RETRY_S)
        return {"retry": retry, "timeout": REQUEST_S}


class AlreadyThereError(Exception):
    """What was to be made is there already."""


class InUseError(Exception):
    """What was to be deleted is still needed, as Vertex AI says."""


@contextlib.contextmanager
def _already_there() -> Iterator[None]:
    from google.api_core.exceptions import AlreadyExists

    try:
        yield
    except AlreadyExists as e:
        raise AlreadyThereError(str(e.message)) from e


@contextlib.contextmanager
def vertex_errors(what: str) -> Iterator[None]:
    """Turn what Google's client raises about ``what`` into :class:`TrainingFailure`; the unknown passes through."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError, TransportError

    try:
        yield
    except exceptions.GoogleAPICallError as e:
        reason, fix = _reason(e)
        raise TrainingFailure(reason, f"{what}: {' '.join(str(e.message).split())}{fix}") from e
    except (TransportError, TimeoutError, exceptions.RetryError) as e:
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, f"{what}: Vertex AI does not answer: {e}") from e
    except GoogleAuthError as e:
        fix = "; give the Airflow connection, or the environment, credentials that work"
        raise TrainingFailure(FailureReason.PERMISSION_DENIED, f"{what}: {e}{fix}") from e


def _reason(error: Any) -> tuple[FailureReason, str]:
    from google.api_core import exceptions

    code = int(error.code or 0)
    if code == 401:
        return FailureReason.PERMISSION_DENIED, "; give the Airflow connection credentials that work"
    if code == 403:
        fix = (
            "; Airflow's account needs roles/aiplatform.user (and serviceAccountUser on vertex.service_account), "
            "Vertex AI's service agent storage.objectViewer on uris.models and the right to pull the image"
        )
        return FailureReason.PERMISSION_DENIED, fix
    if code == 429:
        return FailureReason.RESOURCE_EXHAUSTED, "; wait, or raise Vertex AI's quota of vertex.region"
    if isinstance(error, exceptions.Aborted):
        return FailureReason.NETWORK_TIMEOUT, "; somebody else changed it at the same time"
    if code in (408, 499) or code >= 500:
        return FailureReason.NETWORK_TIMEOUT, ""
    return FailureReason.CONFIG_INVALID, "; correct the section vertex of the Variable f1_training, or what is named"


def _plain(name: str) -> str:
    """A Model's resource name without the version that may follow it."""
    return name.partition("@")[0]


def _version(found: Any) -> ModelVersion:
    return ModelVersion(
        model=_plain(found.name),
        version_id=found.version_id,
        labels=dict(found.labels),
        aliases=tuple(found.version_aliases),
        endpoints=tuple(sorted({deployed.endpoint for deployed in found.deployed_models})),
    )


def _endpoint(found: Any) -> Endpoint:
    deployed = (
        DeployedVersion(id=d.id, model=_plain(d.model), version_id=d.model_version_id) for d in found.deployed_models
    )
    traffic = {deployment: share for deployment, share in found.traffic_split.items() if share > 0}
    return Endpoint(name=found.name, deployed=tuple(deployed), traffic=traffic, etag=found.etag)
