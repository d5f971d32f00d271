"""The environment of a prediction container."""

import pytest

from trainer.contract import FailureReason, TrainingFailure
from trainer.serve.__main__ import TAKEN, read_settings
from trainer.serve.openapi import DOCS, LIVE, OPENAPI

URI = {"AIP_STORAGE_URI": "gs://models/tire_degradation/"}


def test_defaults_are_those_of_the_contract() -> None:
    found = read_settings(URI)
    assert (found.storage_uri, found.port) == ("gs://models/tire_degradation", 8080)
    assert (found.health_route, found.predict_route, found.threads) == ("/health", "/predict", 1)
    assert (found.wait, found.drain_s) == (False, 0.0)


def test_the_paths_of_every_server_are_kept_from_others() -> None:
    assert set(TAKEN) == {DOCS, LIVE, OPENAPI}


def test_vertex_s_routes_are_taken() -> None:
    routes = {
        "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
        "AIP_HTTP_PORT": "9090",
    }
    found = read_settings({**URI, **routes})
    assert (found.health_route, found.predict_route, found.port) == (*routes.values(),)[:2] + (9090,)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "AIP_STORAGE_URI is ''"),
        ({"AIP_STORAGE_URI": "models"}, "AIP_STORAGE_URI is 'models'"),
        ({**URI, "AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT"),
        ({**URI, "AIP_HEALTH_ROUTE": "health"}, "AIP_HEALTH_ROUTE is 'health'; a path such as /health"),
        ({**URI, "AIP_HEALTH_ROUTE": "/x", "AIP_PREDICT_ROUTE": "/x"}, "are the same; two paths are needed"),
        ({**URI, "SERVE_THREADS": "0"}, "SERVE_THREADS"),
        ({**URI, "SERVE_DRAIN_S": "soon"}, "SERVE_DRAIN_S is 'soon'"),
        *(({**URI, "AIP_PREDICT_ROUTE": path}, f"is '{path}', which every server has for itself") for path in TAKEN),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(TrainingFailure, match=said) as caught:
        read_settings(environ)
    assert caught.value.reason is FailureReason.CONFIG_INVALID
