"""The HTTP side: health, prediction, a page that explains both."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from trainer.serve.model import ServedModel
from trainer.serve.openapi import DOCS, LIVE, OPENAPI, VERSION_HEADER, openapi_document
from trainer.serve.page import docs_page
from trainer.serve.rows import InvalidRequestError, problem
from trainer.serve.serving import Serving

#: Bytes of a request at most: more than that many rows have.
MOST_BYTES = 16 << 20
#: Smaller requests are answered where they arrive: to hand them to a thread takes longer.
INLINE_BYTES = 64 << 10
#: The page loads nothing and runs nothing.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CLOSE = {"connection": "close"}


@dataclass(frozen=True, kw_only=True, slots=True)
class AppSettings:
    """Paths, how often the alias is looked at, and how long a request's body may take to arrive."""

    health_route: str
    predict_route: str
    poll_s: float
    body_s: float = 15.0


class Answer(JSONResponse):
    """JSON in ASCII: a client may have sent, and is told of, what UTF-8 cannot hold."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def make_app(serving: Serving, settings: AppSettings) -> FastAPI:
    """The application, which follows its source while it runs."""
    # Large requests take turns: each holds the interpreter, and many times its size in memory.
    turn = asyncio.Semaphore(1)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(serving.follow(settings.poll_s))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    # FastAPI's own page loads its scripts from the Internet.
    app = FastAPI(title="f1-training predictions", openapi_url=None, lifespan=lifespan)

    @app.get(settings.health_route)
    async def health() -> Answer:
        model = _now(serving)
        if serving.stopping:
            raise InvalidRequestError([problem("this server is about to stop; another one answers")], 503)
        return _answered(serving, {"status": "ok", **model.about()})

    @app.get(LIVE)
    async def live() -> Answer:
        return _answered(serving, {"status": "alive"})

    @app.post(settings.predict_route)
    async def predict(request: Request) -> Answer:
        model = _now(serving)
        _check_type(request)
        body = await _body(request, settings.body_s)
        if len(body) <= INLINE_BYTES:
            content = model.answer(body)
        else:
            async with turn:
                content = await asyncio.to_thread(model.answer, body)
        return _answered(serving, content, headers={VERSION_HEADER: model.version})

    _add_pages(app, serving, settings)
    _add_refusals(app, serving, settings)
    return app


def _answered(serving: Serving, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    version = serving.model.version if serving.model else ""
    closing = CLOSE if serving.stopping else {}
    return Answer(content, status, {VERSION_HEADER: version, **closing, **(headers or {})})


def _add_pages(app: FastAPI, serving: Serving, settings: AppSettings) -> None:
    @app.get(OPENAPI)
    async def openapi() -> Answer:
        # Not kept: the features are those of the model that serves now.
        return _answered(serving, openapi_document(_now(serving), settings.health_route, settings.predict_route))

    @app.get(DOCS, response_class=HTMLResponse)
    async def docs(request: Request) -> HTMLResponse:
        url = str(request.base_url).rstrip("/") + settings.predict_route
        page = docs_page(_now(serving), url, settings.health_route)
        return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY})


def _add_refusals(app: FastAPI, serving: Serving, settings: AppSettings) -> None:
    @app.exception_handler(InvalidRequestError)
    async def refuse(_request: Request, error: InvalidRequestError) -> Answer:
        # What a client still sends is not read: the connection cannot be used again.
        closing = CLOSE if error.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE) else {}
        return _answered(serving, {"error": str(error), "problems": error.problems}, error.status, closing)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Answer:
        paths = f"POST {settings.predict_route}, GET {settings.health_route}, GET {DOCS}"
        message = f"{request.method} {request.url.path}: {error.detail}; there are {paths}"[:400]
        body = {"error": message, "problems": [problem(message)]}
        return _answered(serving, body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, error: Exception) -> Answer:
        serving.log.error("broken", f"a request could not be answered: {error!r}")
        message = "the server could not answer; its log says why"
        return _answered(serving, {"error": message, "problems": [problem(message)]}, 500)


def _now(serving: Serving) -> ServedModel:
    """What is served now.

    Raises:
        InvalidRequestError: 503 while there is nothing.
    """
    if serving.model is None:
        raise InvalidRequestError([problem("no version was promoted yet; run f1_training")], 503)
    return serving.model


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "application/json")
    if given.partition(";")[0].strip().lower() != "application/json":
        message = f"the body's type is {given[:80]!r}; send Content-Type: application/json"
        raise InvalidRequestError([problem(message)], 415)


async def _body(request: Request, within_s: float) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(within_s):
            async for part in request.stream():
                size += len(part)
                if size <= MOST_BYTES:
                    parts.append(part)
                elif size > 8 * MOST_BYTES:
                    break  # until here it is read and thrown away: a client that still writes would not see the answer
    except TimeoutError as e:
        message = f"the body did not arrive within {within_s:.0f} s"
        raise InvalidRequestError([problem(message)], 408) from e
    except ClientDisconnect as e:
        raise InvalidRequestError([problem("the client left before its request was there")], 400) from e
    if size > MOST_BYTES:
        message = f"the body has more than {MOST_BYTES} bytes; send fewer rows at a time"
        raise InvalidRequestError([problem(message)], 413)
    return b"".join(parts)
