"""The page that explains a server to a person: complete in itself, so that it opens behind any firewall. Pure."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterable

from trainer.serve.model import ServedModel
from trainer.serve.openapi import OPENAPI, REFUSALS, VERSION_HEADER, described
from trainer.serve.rows import MOST_ROWS

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
pre { padding: .75rem; overflow-x: auto; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1.5rem .2rem 0; vertical-align: top; }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Predictions of {model}</title><style>{style}</style></head><body>
<h1>Predictions of {model}</h1>
<p>Version {version} ({engine}) predicts {target}. A client can be generated from <a href="{openapi}">{openapi}</a>.</p>
<h2>Ask</h2>
<p>One row, or up to {most} at once. Each has every feature; null where a value is not known.</p>
<pre id="command">{command}</pre>
<h2>Answer</h2>
<p>{answer} The header {header} names the version that answered.</p>
<h2>Features</h2>
<table><tr><th>Name</th><th>Value</th></tr>{features}</table>
<h2>Refusals</h2>
<p>The body has <code>error</code>, a sentence, and <code>problems</code>, a list of
<code>message</code>, <code>row</code> (from 0) and <code>field</code>.</p>
<table><tr><th>Status</th><th>When</th></tr>{refusals}</table>
<p>GET {health} says which version is served.</p>
</body></html>
"""


def docs_page(model: ServedModel, predict_url: str, health_route: str) -> str:
    """The page of a server whose predictions are at ``predict_url``."""
    if model.labels:
        names = ", ".join(map(str, model.labels))
        answer = (
            f'{{"predictions": [{{"class": ..., "probabilities": [...]}}, ...]}}, one a row: the most probable class, '
            f"and the probabilities of {names}, in this order."
        )
    else:
        answer = f'{{"predictions": [...]}}, one number a row: {described(model)}.'
    texts = {
        "model": model.model_type,
        "version": model.version,
        "engine": model.engine.value,
        "target": described(model),
        "openapi": OPENAPI,
        "most": f"{MOST_ROWS:,}",
        "command": curl(model, predict_url),
        "answer": answer,
        "header": VERSION_HEADER,
        "health": health_route,
    }
    escaped = {name: html.escape(text) for name, text in texts.items()}
    features = _rows((name, "number or null") for name in model.features)
    return PAGE.format(**escaped, style=STYLE, features=features, refusals=_rows(REFUSALS.items()))


def curl(model: ServedModel, predict_url: str) -> str:
    """A command that asks for two rows."""
    body = json.dumps(model.example())
    return f"curl {shlex.quote(predict_url)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in rows)
