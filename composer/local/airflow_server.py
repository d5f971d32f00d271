"""A real Airflow on one machine: its configuration, by environment only, and its processes."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.local.airflow_api import AirflowApi
from composer.local.places import REPOSITORY, Places, tool
from composer.local.ports import HOST

USER = "admin"
#: Started in this order, stopped in reverse.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--workers", "1"),
    "dag-processor": ("dag-processor",),
    "scheduler": ("scheduler",),
    "triggerer": ("triggerer",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AirflowPorts:
    """The API server's port is the one people see; those of the two log servers only must not collide."""

    api: int
    worker_logs: int
    trigger_logs: int

    @property
    def address(self) -> str:
        """Of the UI and the REST API."""
        return f"http://{HOST}:{self.api}"


def secret(places: Places, name: str) -> str:
    """A random secret of this installation, made once and kept, readable by its owner only."""
    path = places.folder("airflow") / f".{name}"
    if not path.exists():
        temporary = path.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(32))
        temporary.rename(path)
    return path.read_text()


def fernet_key(places: Places) -> str:
    """The key that Airflow encrypts connections with: 32 bytes, base64 with padding."""
    return secret(places, "fernet_key")[:43] + "="


def environment(places: Places, ports: AirflowPorts, variables: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of every Airflow process; nothing is read from the user's own Airflow.

    ``variables`` adds connections (``AIRFLOW_CONN_*``), variables (``AIRFLOW_VAR_*``) and endpoints.
    """
    home = places.folder("airflow")
    passwords = home / "passwords.json"
    if not passwords.exists():
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({USER: secret(places, "password")[:12]}))
    api = ports.address
    settings = {
        "CORE__DAGS_FOLDER": REPOSITORY / "dags",
        "CORE__PLUGINS_FOLDER": REPOSITORY / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "CORE__FERNET_KEY": fernet_key(places),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "CORE__EXECUTION_API_SERVER_URL": f"{api}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": os.environ.get("F1_AIRFLOW_DATABASE") or f"sqlite:///{home / 'airflow.db'}",
        "API__HOST": HOST,
        "API__PORT": ports.api,
        "API__BASE_URL": api,
        "API__INSTANCE_NAME": "f1-training",
        "API_AUTH__JWT_SECRET": secret(places, "jwt_secret"),
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
        "LOGGING__WORKER_LOG_SERVER_PORT": ports.worker_logs,
        "LOGGING__TRIGGER_LOG_SERVER_PORT": ports.trigger_logs,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        # A file that changes is parsed at once; what it reads, such as the catalogue, is read again by then.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 120,
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        # A task whose process is gone is noticed after a minute instead of five: here somebody waits for it.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 60,
    }
    own = {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
    base = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    path = f"{Path(tool('python')).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **base,
        "PATH": path,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}",
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        **own,
        **variables,
    }


def password(places: Places) -> str:
    """The password of :data:`USER`."""
    found: str = json.loads((places.folder("airflow") / "passwords.json").read_text())[USER]
    return found


def wait_until_healthy(api: AirflowApi, check: Any, *, deadline_s: float) -> None:
    """Return once all components are healthy.

    Args:
        api: the API to ask.
        check: called between two questions; raises if a process has ended.
        deadline_s: how long to wait.

    Raises:
        TimeoutError: they were not healthy in time.
    """
    end = time.monotonic() + deadline_s
    while not api.healthy():
        check()
        if time.monotonic() > end:
            raise TimeoutError(f"Airflow was not healthy within {deadline_s:.0f} s; see var/log/*.log")
        time.sleep(0.3)
