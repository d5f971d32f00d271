"""The HTTP side: health, prediction, a page that explains both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from trainer.contract import TrainingFailure
from trainer.logs import EventLog
from trainer.serve.model import ServedModel, Source, load
from trainer.serve.rows import InvalidRequestError, matrix, read_instances

#: Bytes of a request at most: more than that many rows have.
MOST_BYTES = 16 << 20
#: Fewer rows are predicted where they arrive: to hand them to a thread takes longer.
INLINE_ROWS = 256
VERSION_HEADER = "x-model-version"


@dataclass(kw_only=True)
class Serving:
    """What is served now. ``model`` is replaced as a whole: a request uses the one that it began with.

    It is None while the registry has no champion yet; health then says so with status 503.
    """

    model: ServedModel | None
    source: Source
    log: EventLog
    threads: int = 1
    wanted: str = ""

    def look(self) -> bool:
        """Whether another version is served than before: the alias is read, and what it means is loaded first.

        A version that cannot be loaded is reported once, and the one that is there goes on.
        """
        try:
            if self.model is None and not self.source.there():
                return False
            wanted = self.source.version()
            if wanted == self.wanted:
                return False
            self.wanted = wanted
            model = load(self.source.folder(wanted), self.threads)
        except TrainingFailure as e:
            now = f"{self.model.version} goes on serving" if self.model else "nothing is served"
            self.log.info("not served", f"{e}; {now}", reason=e.reason.value)
            return False
        self.model = model
        self.log.info("serves", f"{model.model_type} {model.version}", model_version=model.version)
        return True

    async def follow(self, poll_s: float) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(poll_s)
            await asyncio.to_thread(self.look)


def make_app(serving: Serving, *, health_route: str, predict_route: str, poll_s: float) -> FastAPI:
    """The application, which follows its source while it runs."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(serving.follow(poll_s))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = FastAPI(title="f1-training predictions", lifespan=lifespan)

    @app.get(health_route, summary="Whether it serves, and what", response_model=None)
    async def health() -> Any:
        return {"status": "ok", **_now(serving).about()}

    @app.post(predict_route, summary="Predict rows", response_model=None)
    async def predict(request: Request, response: Response) -> Any:
        model = _now(serving)
        response.headers[VERSION_HEADER] = model.version
        rows = matrix(read_instances(await _body(request)), model.features)
        if len(rows) <= INLINE_ROWS:
            found = model.predict(rows)
        else:
            found = await asyncio.to_thread(model.predict, rows)
        return {"predictions": np.asarray(found).tolist()}

    @app.exception_handler(InvalidRequestError)
    async def refuse(_request: Request, error: InvalidRequestError) -> JSONResponse:
        body = {"error": str(error), "problems": error.problems}
        return JSONResponse(body, error.status, {VERSION_HEADER: serving.model.version if serving.model else ""})

    def openapi() -> dict[str, Any]:
        # Not kept: the features are those of the model that serves now.
        model = _now(serving)
        document = get_openapi(title=app.title, version=model.version, routes=app.routes)
        document["paths"][predict_route]["post"] |= _prediction(model)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _now(serving: Serving) -> ServedModel:
    """What is served now.

    Raises:
        InvalidRequestError: 503 while there is nothing.
    """
    if serving.model is None:
        raise InvalidRequestError([{"message": "no version was promoted yet; run f1_training"}], 503)
    return serving.model


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= MOST_BYTES:
            parts.append(part)
        elif size > 8 * MOST_BYTES:
            break  # until here it is read and thrown away: a client that still writes would not see the answer
    if size > MOST_BYTES:
        problem = {"message": f"the body has more than {MOST_BYTES} bytes; send fewer rows at a time"}
        raise InvalidRequestError([problem], 413)
    return b"".join(parts)


def _prediction(model: ServedModel) -> dict[str, Any]:
    """What the OpenAPI document says of a prediction: the model's own features, and an example that works."""
    number = {"type": "number", "nullable": True}
    row = {
        "type": "object",
        "properties": dict.fromkeys(model.features, number),
        "required": list(model.features),
        "additionalProperties": False,
    }
    rows = {"type": "array", "items": row, "minItems": 1}
    request = {
        "type": "object",
        "properties": {"instances": rows, "parameters": {}},
        "required": ["instances"],
        "additionalProperties": False,
    }
    example = {"instances": [dict.fromkeys(model.features, 1.0)]}
    unit = f" in {model.unit}" if model.unit else ""
    answer = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {}, "description": f"{model.target}{unit}, a row each"}
        },
        "required": ["predictions"],
    }
    problems = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "problems": {"type": "array", "items": {"type": "object"}}},
        "required": ["error", "problems"],
    }
    refused = {"content": {"application/json": {"schema": problems}}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": request, "example": example}}},
        "responses": {
            "200": {"description": "Predictions", "content": {"application/json": {"schema": answer}}},
            "400": {"description": "The body is not JSON", **refused},
            "413": {"description": "The body is too large", **refused},
            "422": {"description": "A row does not fit the model; row and field are named", **refused},
        },
    }
