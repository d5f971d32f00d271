"""See that a new champion is served: its server says so, and predicts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunPlan
from trainer.contract import FailureReason, TrainingFailure

REQUEST_S, LOOK_S = 10.0, 1.0


class ServeOperator(BaseOperator):
    """Wait until the model's server serves the version that was promoted, and check one prediction of it.

    The server follows the alias by itself. Skipped where the model has no server, or the version is not champion.

    Args:
        plan: the run's plan, from task ``plan``.
        registered: what :class:`RegisterModelOperator` returned.

    Returns the version that is served and what it predicted for a row of missing values.
    """

    template_fields: Sequence[str] = ("plan", "registered")
    ui_color = "#dcd6f7"

    def __init__(self, *, plan: Any, registered: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.registered = registered

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Look at the server until it serves the version, then ask it."""
        with airflow_errors():
            plan = RunPlan.from_xcom(self.plan)
            url = plan.settings.serving.urls.get(plan.model_type)
            if url is None:
                raise AirflowSkipException(
                    f"serving.urls in the Variable f1_training names no server of {plan.model_type}"
                )
            if not self.registered["champion"]:
                raise AirflowSkipException(f"the version is not champion: {self.registered['reason']}")
            features = self._until_served(plan, url.rstrip("/"))
            predicted = self._predict(plan, url.rstrip("/"), features)
        version = self.registered["version"]
        self.log.info("%s serves %s %s, which predicts %s", url, plan.model_type, version, predicted)
        return {"url": url, "version": version, "prediction": predicted}

    def _until_served(self, plan: RunPlan, url: str) -> list[str]:
        """The features of what is served, once that is the version."""
        wanted, end = self.registered["version"], time.monotonic() + plan.settings.serving.within_s
        while True:
            found = _get(url + plan.settings.serving.health_route)
            if found.get("model_version") == wanted:
                return list(found["features"])
            if time.monotonic() > end:
                now = found.get("model_version") or found.get("error") or "nothing"
                within = f"within {plan.settings.serving.within_s:.0f} s"
                message = f"{url} does not serve {plan.model_type} {wanted} {within}: {now}; its log says why"
                raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message)
            time.sleep(LOOK_S)

    def _predict(self, plan: RunPlan, url: str, features: Sequence[str]) -> Any:
        import requests

        route = url + plan.settings.serving.predict_route
        body = {"instances": [dict.fromkeys(features)]}
        try:
            answer = requests.post(route, json=body, timeout=REQUEST_S)
        except requests.RequestException as e:
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, f"{route} does not answer: {e}") from e
        if answer.status_code != 200:
            message = f"{route} answered {answer.status_code} to a row of its own features: {answer.text[:300]}"
            raise TrainingFailure(FailureReason.BUG, message)
        try:
            (predicted,) = answer.json()["predictions"]
            # A classifier's server says the class, and how probable each is.
            values = predicted["probabilities"] if isinstance(predicted, dict) else [predicted]
        except (KeyError, TypeError, ValueError) as e:
            message = f"{route} answered {answer.text[:300]!r}, which is no prediction of one row"
            raise TrainingFailure(FailureReason.BUG, message) from e
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
            raise TrainingFailure(FailureReason.BUG, f"{route} predicts {predicted!r}, which is no number")
        return predicted


def _get(url: str) -> dict[str, Any]:
    """What a server says of itself; why not, under ``error``."""
    import requests

    try:
        found = requests.get(url, timeout=REQUEST_S).json()
    except (requests.RequestException, ValueError) as e:
        return {"error": f"{type(e).__name__}: {e}"}
    return found if isinstance(found, dict) else {"error": f"an answer that is no object: {found!r}"}
