"""``python -m trainer.serve``: serve a version of a model, or a model's champion wherever it moves.

The environment is that of Vertex AI's custom containers: ``AIP_STORAGE_URI`` (the folder of a version, or the
registry's folder of a model), ``AIP_HTTP_PORT`` (8080), ``AIP_HEALTH_ROUTE`` (/health), ``AIP_PREDICT_ROUTE``
(/predict). ``SERVE_THREADS`` (1) are a prediction's, ``SERVE_POLL_S`` (10) is how often the alias is looked at,
``SERVE_HOST`` (0.0.0.0) the address. With ``SERVE_WAIT=1`` it starts without a champion, too, and waits for the first.
Told to stop, it goes on answering for ``SERVE_DRAIN_S`` (0) while its health says that it is about to end.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.contract import TrainingFailure
from trainer.contract.outcome import EXIT_CODES
from trainer.environment import config_error, read_int
from trainer.logs import open_log
from trainer.optional import do_without
from trainer.termination import end_as_preempted, remember, was_told

#: Taken by what every server has; see trainer.serve.openapi.
TAKEN = ("/docs", "/openapi.json", "/live")
ROUTE = re.compile(r"/[A-Za-z0-9_.:/-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeSettings:
    """What the environment says."""

    storage_uri: str
    port: int
    host: str
    health_route: str
    predict_route: str
    threads: int
    poll_s: float
    wait: bool
    drain_s: float


def read_settings(environ: Mapping[str, str] = os.environ) -> ServeSettings:
    """The settings of a server.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the variable and the fix.
    """
    uri = environ.get("AIP_STORAGE_URI", "")
    if "://" not in uri:
        raise config_error(f"AIP_STORAGE_URI is {uri!r}; a URI such as gs://my-models/tire_degradation")
    routes = {}
    for name, default in (("AIP_HEALTH_ROUTE", "/health"), ("AIP_PREDICT_ROUTE", "/predict")):
        routes[name] = environ.get(name) or default
        if not ROUTE.fullmatch(routes[name]):
            raise config_error(f"{name} is {routes[name]!r}; a path such as {default}")
        if routes[name] in TAKEN:
            raise config_error(
                f"{name} is {routes[name]!r}, which every server has for itself; a path such as {default}"
            )
    if routes["AIP_HEALTH_ROUTE"] == routes["AIP_PREDICT_ROUTE"]:
        raise config_error("AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE are the same; two paths are needed")
    return ServeSettings(
        storage_uri=uri.rstrip("/"),
        port=read_int(environ, "AIP_HTTP_PORT", 8080, least=1),
        host=environ.get("SERVE_HOST") or "0.0.0.0",
        health_route=routes["AIP_HEALTH_ROUTE"],
        predict_route=routes["AIP_PREDICT_ROUTE"],
        threads=read_int(environ, "SERVE_THREADS", 1, least=1),
        poll_s=float(read_int(environ, "SERVE_POLL_S", 10, least=1)),
        wait=read_int(environ, "SERVE_WAIT", 0) > 0,
        drain_s=float(read_int(environ, "SERVE_DRAIN_S", 0)),
    )


def main() -> int:
    """Serve until told to stop. Returns the exit code: what kept it from starting, in ``sysexits`` terms."""
    log = open_log("", role="serve")
    end_as_preempted()
    try:
        settings = read_settings()
        import uvicorn

        from trainer.serve.app import AppSettings, make_app
        from trainer.serve.model import load, source_of
        from trainer.serve.server import FINISH_S, KEEP_ALIVE_S, DrainingServer
        from trainer.serve.serving import Serving

        source = source_of(settings.storage_uri)
        wanted, model = "", None
        if not settings.wait or source.there():
            wanted = source.version()
            model = load(source.folder(wanted), settings.threads)
    except TrainingFailure as e:
        log.error("failed", str(e), reason=e.reason.value)
        return EXIT_CODES[e.reason]
    finally:
        remember()  # from here on the server has its own way to end; it raises the signal again when it has
    if model is None:
        log.info("waits", f"no version was promoted yet below {settings.storage_uri}")
    else:
        log.info("serves", f"{model.model_type} {model.version}", model_version=model.version)
    serving = Serving(model=model, source=source, log=log, threads=settings.threads, wanted=wanted)
    app = make_app(
        serving,
        AppSettings(health_route=settings.health_route, predict_route=settings.predict_route, poll_s=settings.poll_s),
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )
    if not was_told():
        DrainingServer(config, serving, settings.drain_s).run()
    return os.EX_OK


if __name__ == "__main__":
    do_without()
    sys.exit(main())
