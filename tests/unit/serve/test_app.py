"""What a client sees of the server: answers, refusals by name, its description, its page."""

from __future__ import annotations

import asyncio
import html
import io
import json
import re
import shlex
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest

from trainer.contract import Engine
from trainer.logs import open_log
from trainer.serve.answers import Label
from trainer.serve.app import MOST_BYTES, AppSettings, make_app
from trainer.serve.model import ServedModel, Source
from trainer.serve.openapi import REFUSALS
from trainer.serve.rows import LARGEST, MOST_ROWS
from trainer.serve.serving import Serving

FEATURES = ("age", "lap")
ROW = {"age": 1.0, "lap": 2.0}
JSON = {"content-type": "application/json"}


def linear(rows: Any) -> Any:
    """As a model without trees predicts: a sum over the features, which may overflow. What is missing adds nothing."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (np.nan_to_num(rows, nan=0.0, posinf=None, neginf=None) * np.float32(10)).sum(axis=1).astype(np.float64)


def model(predict: Any = linear, labels: tuple[Label, ...] = (), features: tuple[str, ...] = FEATURES) -> ServedModel:
    return ServedModel(
        model_type="tire_degradation", version="20260101-000000-aaaaaa", engine=Engine.XGBOOST, features=features,
        target="delta", unit="ms", labels=labels, sha256="0" * 64, predict=predict,
    )  # fmt: skip


class Client:
    """Asks an application that serves ``served``, in this process."""

    def __init__(self, served: ServedModel | None, **settings: Any) -> None:
        source = Source(version=lambda: "", folder=lambda v: v, there=lambda: False)
        self.said = io.StringIO()
        self.serving = Serving(model=served, source=source, log=open_log("", self.said))
        values: dict[str, Any] = {"health_route": "/health", "predict_route": "/predict", "poll_s": 60.0, **settings}
        self._app = make_app(self.serving, AppSettings(**values))

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here:8080") as client:
            return await client.request(method, path, **request)

    async def post(self, body: Any, headers: Any = JSON) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", "/predict", content=content, headers=headers)


async def test_a_row_and_many_are_answered_in_their_order() -> None:
    client = Client(model())
    one = await client.post({"instances": [ROW]})
    assert (one.status_code, one.json()) == (200, {"predictions": [30.0]})
    assert one.headers["x-model-version"] == "20260101-000000-aaaaaa"
    rows = [{"age": float(n), "lap": None} for n in range(MOST_ROWS)]
    assert (await client.post({"instances": rows})).json()["predictions"] == [10.0 * n for n in range(MOST_ROWS)]


@pytest.mark.parametrize(
    ("body", "status", "row", "field", "said"),
    [
        (b"{", 400, None, None, "the body is not JSON: Expecting"),
        (b"", 400, None, None, "the body is not JSON: Expecting"),
        (b'{"instances": [{"age": "\xff"}]}', 400, None, None, "the body is not JSON: it is not UTF-8 from byte 24 on"),
        (json.dumps({"instances": [ROW]}).encode("utf-16"), 400, None, None, "it is not UTF-8 from byte 0 on"),
        (b"[" * 100_000, 400, None, None, "it is nested too deeply"),
        (b'{"instances": [{"age": ' + b"9" * 5000 + b"}]}", 400, None, None, "an integer of thousands of digits"),
        ([ROW], 422, None, None, 'the body is not an object such as {"instances": [{...}]}'),
        ({}, 422, None, "instances", f"'instances' must be a list of 1 to {MOST_ROWS} rows"),
        ({"instances": []}, 422, None, "instances", "'instances' must be a list of 1 to"),
        ({"instances": [{}] * (MOST_ROWS + 1)}, 422, None, "instances", "'instances' must be a list of 1 to"),
        ({"instances": [ROW], "mood": 1}, 422, None, "mood", "the body has the unknown field 'mood'"),
        (b'{"instances": [], "instances": [{}]}', 422, None, "instances", "has the field 'instances' more than once"),
        ({"instances": [ROW, 7]}, 422, 1, None, "row 1 is not an object of features"),
        ({"instances": [ROW, {"age": 1.0}]}, 422, 1, "lap", "row 1 lacks 'lap'; null where it is not known"),
        ({"instances": [{**ROW, "mood": 1}]}, 422, 0, "mood", "row 0 has the unknown field 'mood'"),
        (b'{"instances": [{"age": 1, "lap": 2, "age": 3}]}', 422, 0, "age", "row 0 has the field 'age' more than once"),
        (b'{"instances": [{"age": NaN, "lap": 2}]}', 422, 0, "age", "row 0: 'age' is nan, not a number"),
        (b'{"instances": [{"age": 1, "lap": -Infinity}]}', 422, 0, "lap", "row 0: 'lap' is -inf, not a number"),
        ({"instances": [{**ROW, "age": 1e39}]}, 422, 0, "age", "'age' is 1e+39, not a number of at most 3.402823e+38"),
        ({"instances": [{**ROW, "age": "soft"}]}, 422, 0, "age", "row 0: 'age' is 'soft', not a number"),
        ({"instances": [{**ROW, "age": [[[[1]]]]}]}, 422, 0, "age", "row 0: 'age' is [[[...]]], not a number"),
        ({"instances": [ROW, {"age": LARGEST, "lap": LARGEST}]}, 422, 1, None, "row 1: its values are so large"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused_by_row_and_field(
    body: Any, status: int, row: int | None, field: str | None, said: str
) -> None:
    client = Client(model())
    found = await client.post(body)
    assert found.status_code == status
    (problem,) = found.json()["problems"]
    assert (problem.get("row"), problem.get("field")) == (row, field)
    assert said in problem["message"]
    assert found.json()["error"] == problem["message"]
    assert str(status) in REFUSALS
    assert (await client.post({"instances": [ROW]})).status_code == 200


async def test_names_that_a_client_made_up_are_told_whatever_they_are_and_not_at_length() -> None:
    client = Client(model())
    half = await client.post(b'{"instances": [{"age": 1, "lap": 2, "\\ud800": 3}]}')
    assert (half.status_code, half.json()["problems"][0]["field"]) == (422, "\ud800")
    long = await client.post({"instances": [{**ROW, "x" * 100_000: 1}]})
    assert long.status_code == 422
    assert len(long.content) < 1000
    many = await client.post({"instances": [{f"f{n}": n for n in range(100_000)}]})
    assert len(many.json()["problems"]) == 10


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
async def test_another_content_type_is_refused(kind: str) -> None:
    found = await Client(model()).post({"instances": [ROW]}, {"content-type": kind})
    assert found.status_code == 415
    assert found.json()["error"] == f"the body's type is {kind!r}; send Content-Type: application/json"


@pytest.mark.parametrize("headers", [{}, {"content-type": "Application/JSON; charset=utf-8"}])
async def test_json_is_taken_as_clients_send_it(headers: dict[str, str]) -> None:
    assert (await Client(model()).post({"instances": [ROW]}, headers)).status_code == 200


async def test_a_body_that_is_too_large_is_refused_and_its_connection_closed() -> None:
    found = await Client(model()).post(b" " * (MOST_BYTES + 1))
    assert found.status_code == 413
    assert "send fewer rows at a time" in found.json()["error"]
    assert found.headers["connection"] == "close"


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"instances": ['
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        found = await Client(model(), body_s=0.0).ask("POST", "/predict", content=body(), headers=JSON)
    assert (found.status_code, found.headers["connection"]) == (408, "close")
    assert found.json()["error"] == "the body did not arrive within 0 s"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/predict", 405), ("POST", "/prediction", 404)])
async def test_where_to_ask_is_said_to_those_who_ask_elsewhere(method: str, path: str, status: int) -> None:
    found = await Client(model()).ask(method, path)
    assert found.status_code == status
    assert "there are POST /predict, GET /health, GET /docs" in found.json()["error"]
    assert ("allow" in found.headers) is (status == 405)


async def test_a_library_that_fails_is_our_error_and_is_logged() -> None:
    def fail(_rows: Any) -> Any:
        raise RuntimeError("the library broke")

    client = Client(model(fail))
    found = await client.post({"instances": [ROW]})
    assert (found.status_code, found.json()["error"]) == (500, "the server could not answer; its log says why")
    assert "the library broke" in client.said.getvalue()


async def test_without_a_champion_it_is_alive_and_says_what_it_waits_for() -> None:
    client = Client(None)
    for method, path in (("GET", "/health"), ("POST", "/predict"), ("GET", "/openapi.json"), ("GET", "/docs")):
        found = await client.ask(method, path)
        assert (found.status_code, found.json()["error"]) == (503, "no version was promoted yet; run f1_training")
    assert (await client.ask("GET", "/live")).status_code == 200


async def test_a_server_that_is_about_to_stop_answers_and_sends_clients_elsewhere() -> None:
    client = Client(model())
    client.serving.stopping = True
    assert (await client.ask("GET", "/health")).status_code == 503
    found = await client.post({"instances": [ROW]})
    assert (found.status_code, found.headers["connection"]) == (200, "close")
    assert (await client.ask("GET", "/live")).status_code == 200


def schema_of(document: Any, name: str) -> Any:
    """A schema of the document, with what it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


@pytest.mark.parametrize("labels", [(), (0, 1), ("HARD", "MEDIUM", "SOFT")])
async def test_its_description_is_that_of_the_model(labels: tuple[Label, ...]) -> None:
    def predict(rows: Any) -> Any:
        return np.full((len(rows), 3), 1 / 3) if len(labels) == 3 else np.full(len(rows), 0.25)

    client = Client(model(predict, labels))
    document = (await client.ask("GET", "/openapi.json")).json()
    row = document["components"]["schemas"]["Row"]
    assert (list(row["properties"]), row["required"]) == (list(FEATURES), list(FEATURES))
    assert row["properties"]["age"]["type"] == ["number", "null"]
    assert document["info"]["version"] == "20260101-000000-aaaaaa"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    post = document["paths"]["/predict"]["post"]
    example = post["requestBody"]["content"]["application/json"]["example"]
    answer = await client.post(example)
    assert answer.status_code == 200
    jsonschema.validate(example, schema_of(document, "Request"))
    jsonschema.validate(answer.json(), schema_of(document, "Answer"))
    jsonschema.validate((await client.ask("GET", "/health")).json(), schema_of(document, "Health"))
    jsonschema.validate((await client.post(b"{")).json(), schema_of(document, "Refusal"))
    assert set(post["responses"]) == {"200", *REFUSALS}


class Page(HTMLParser):
    """Addresses that a page loads or leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "action")]


async def test_its_page_has_a_command_that_works_and_loads_nothing() -> None:
    client = Client(model())
    found = await client.ask("GET", "/docs")
    page = Page(found.text)
    assert page.addresses == ["/openapi.json"]
    assert not page.tags & {"script", "link", "img", "iframe", "form"}
    assert "url(" not in found.text
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    command = html.unescape(re.findall(r'<pre id="command">(.*?)</pre>', found.text, re.DOTALL)[0])
    program, url, _, header, _, body = shlex.split(command)
    assert (program, url, header) == ("curl", "http://here:8080/predict", "Content-Type: application/json")
    assert (await client.post(body.encode())).json() == {"predictions": [20.0, 10.0]}


async def test_what_a_page_shows_is_not_taken_for_markup() -> None:
    found = await Client(model(features=("age", "<script>alert('lap')</script>"))).ask(
        "GET", "/docs", headers={"host": '"><script src=x>'}
    )
    assert not Page(found.text).tags & {"script"}
