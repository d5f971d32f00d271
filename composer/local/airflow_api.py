"""A client of the few calls of Airflow's public REST API (v2) that starting and following a run takes."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

#: How often, and after how many seconds, a request is made again that found the metadata database locked.
LOCKED_TRIES, LOCKED_S = 8, 0.5
#: What nobody wants to read of a failed task's log: marks of folded groups, checks that are fine, checks as JSON.
UNSAID = ("::", "passed  ", "skipped  ")
AS_JSON = '  {"check": '


class AirflowApiError(Exception):
    """The REST API refused. ``status`` is the HTTP status, 0 when nothing answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AirflowApi:
    """The few calls of Airflow's public REST API (v2) that following a run takes.

    Logs in with ``user`` and ``password``, or uses ``token`` as it is.
    """

    def __init__(
        self, url: str, user: str = "", password: str = "", *, token: str = "", timeout_s: float = 30.0
    ) -> None:
        self.url = url
        self._user, self._password = user, password
        self._timeout_s = timeout_s
        self._token = token

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request below ``/api/v2``; logs in first, and again when the token has expired.

        A metadata database that is locked for the moment, as SQLite is while another process writes, is asked again;
        what the refused request has made all the same is then there, which is no error.

        Raises:
            AirflowApiError: with what the server says.
        """
        for attempt in range(LOCKED_TRIES):
            try:
                return self._call(method, path, body)
            except AirflowApiError as e:
                if e.status == 409 and attempt:
                    return None
                if e.status != 500 or "Database error" not in str(e) or attempt == LOCKED_TRIES - 1:
                    raise
            time.sleep(LOCKED_S)
        return None

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        if not self._token:
            self._login()
        try:
            return self._request(method, f"/api/v2{path}", body)
        except AirflowApiError as e:
            if e.status != 401 or not self._user:
                raise
        self._login()
        return self._request(method, f"/api/v2{path}", body)

    def healthy(self) -> bool:
        """Whether metadata database, scheduler, triggerer and DAG processor all report healthy."""
        try:
            health = self._request("GET", "/api/v2/monitor/health", None)
        except AirflowApiError:
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool that counts deferred tasks; one that is there already stays as it is."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": True}
        try:
            self.call("POST", "/pools", body)
        except AirflowApiError as e:
            if e.status != 409:
                raise

    def attempts(self, dag_id: str, run_id: str, task: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the task wrote down about its attempts, the oldest first; none for a task that makes none."""
        path = (
            f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task['task_id']}"
            f"/state-store/attempts?map_index={task['map_index']}"
        )
        try:
            found: list[dict[str, Any]] = self.call("GET", path)["value"]
        except AirflowApiError as e:
            if e.status == 404:
                return []
            raise
        return found

    def dag_runs(self, dag_id: str, last: int) -> list[dict[str, Any]]:
        """The ``last`` newest runs, the newest first."""
        found: list[dict[str, Any]] = self.call("GET", f"/dags/{dag_id}/dagRuns?limit={last}&order_by=-run_after")[
            "dag_runs"
        ]
        return found

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """The DAG run, or None."""
        try:
            found: dict[str, Any] = self.call("GET", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}")
        except AirflowApiError as e:
            if e.status == 404:
                return None
            raise
        return found

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """End a run that has not ended; whoever follows it no more does not leave it behind."""
        with contextlib.suppress(AirflowApiError):
            run = self.dag_run(dag_id, run_id)
            if run is not None and run["state"] in ("queued", "running"):
                path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}?update_mask=state"
                self.call("PATCH", path, {"state": "failed"})

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances?limit=1000"
        found: list[dict[str, Any]] = self.call("GET", path)["task_instances"]
        return found

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, *, key: str = "return_value") -> Any:
        """What a task left under ``key``, by default its return value."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        value = self.call("GET", f"{path}?map_index={map_index}&deserialize=false")["value"]
        return json.loads(value) if isinstance(value, str) else value

    def task_log(self, dag_id: str, run_id: str, task: Mapping[str, Any], lines: int = 40) -> str:
        """The last lines of a task's newest log, for people: of checks those that are not fine, without their JSON."""
        path = (
            f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
            f"?map_index={task['map_index']}&full_content=true"
        )
        content = self.call("GET", path).get("content") or []
        texts = [line.partition(AS_JSON)[0] for entry in content for line in _lines(entry)]
        return "\n".join([t for t in texts if t and not t.startswith(UNSAID)][-lines:])

    def _login(self) -> None:
        body = {"username": self._user, "password": self._password}
        self._token = self._request("POST", "/auth/token", body)["access_token"]

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310 - always http
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                text = response.read()
        except urllib.error.HTTPError as e:
            detail = e.read().decode(errors="replace")
            raise AirflowApiError(e.code, f"{method} {path}: {e.code} {detail[:500]}") from e
        except OSError as e:
            raise AirflowApiError(0, f"{method} {path}: {e}") from e
        return json.loads(text) if text else None


def _lines(entry: Any) -> list[str]:
    """What an entry of a log says; one about an exception has its text elsewhere."""
    if not isinstance(entry, dict):
        return [str(entry)]
    details = entry.get("error_detail") or []
    return [entry.get("event", ""), *(f"{d.get('exc_type')}: {d.get('exc_value')}" for d in details)]


def _quoted(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")
