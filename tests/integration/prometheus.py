"""Prometheus as its API answers, for tests that wait for what it saw."""

import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from composer.local import monitoring

needed = pytest.mark.skipif(monitoring.program() is None, reason=monitoring.HOW)


@dataclass(frozen=True)
class Prometheus:
    """The server at ``address``."""

    address: str

    def ask(self, path: str, **words: str) -> Any:
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def series(self, query: str) -> list[dict[str, str]]:
        return [found["metric"] for found in self.ask("query", query=query)["result"]]

    def rule(self, name: str) -> dict[str, Any]:
        (found,) = (r for g in self.ask("rules")["groups"] for r in g["rules"] if r["name"] == name)
        return dict(found)

    def firing(self, name: str, **labels: str) -> dict[str, Any] | None:
        """The alert ``name`` of ``labels`` as it fires; None while it does not."""
        alerts = (a for a in self.rule(name)["alerts"] if a["state"] == "firing")
        return next((a for a in alerts if labels.items() <= a["labels"].items()), None)
