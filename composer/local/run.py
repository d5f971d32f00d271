"""``make run``: a run of the DAG ``f1_data``, then one of ``f1_training``, on a real Airflow; a table at the end."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from rich.console import Console

from composer.local import data_run, laps, outcome
from composer.local.airflow_api import AirflowApi, AirflowApiError
from composer.local.follow import DAG_ID, RunFollower, StageRow, stage_of, stage_rows
from composer.local.places import Places
from composer.local.ports import PortInUseError, require_free
from composer.local.processes import ProcessFailedError
from composer.local.progress import TrainingProgress
from composer.local.request import RequestError, RunRequest, add_arguments, read_request
from composer.local.running import StackGoneError, StackInfo, require_up, running_stack
from composer.local.stack import StackInUseError, new_stack
from f1_training.data.good import DAG_ID as DATA_DAG_ID

RUN_DEADLINE_S = 12 * 3600.0
DAG_DEADLINE_S = 90.0


class RunFailedError(Exception):
    """The run did not succeed; the message has the failed task's last lines."""


class Launcher:
    """One ``make run``: phases with their seconds, then the DAG's stages."""

    def __init__(self, request: RunRequest, places: Places, console: Console) -> None:
        self._request = request
        self._places = places
        self._console = console
        self._rows: list[StageRow] = []

    def run(self, port: int | None) -> None:
        """Everything, on the stack that is up, or else on one that lives as long as the run."""
        found = running_stack(self._places)
        if found is not None:
            self._say(f"using the stack that is up at {found.airflow}")
            self._bring_and_train(found, found.api(self._places), lambda: require_up(self._places, found))
            return
        with new_stack(self._places, port=port) as stack:
            with self._phase("start"):
                self._say("starting Airflow and the stand-ins of BigQuery and Kubernetes")
                info = stack.start_stand_ins()
                stack.start_airflow()
                api = stack.wait_for_airflow()
            self._bring_and_train(info, api, stack.check)

    def _bring_and_train(self, info: StackInfo, api: AirflowApi, check: Callable[[], None]) -> None:
        _wait_for_dags(api, check)
        request = self._request
        origin = str(request.laps) if request.laps else f"simulated with seed {request.seed}"
        self._say(f"laps: {origin}")
        source = data_run.source_of(request.laps, request.seed)
        self._rows += data_run.bring(api, self._places, source, say=self._say, check=check)
        self._train(info, api, check)

    def _train(self, info: StackInfo, api: AirflowApi, check: Callable[[], None]) -> None:
        run_id = self._request.run_id
        self._fail_leftovers(api)
        _start_run(api, self._request)
        self._say(f"run {run_id}: {info.airflow}/dags/{DAG_ID}/runs/{run_id}")
        follower = RunFollower(api, run_id, say=self._say, check=check, models=lambda: self._models(api))
        try:
            with TrainingProgress(info.kubeconfig, self._console):
                state, tasks = follower.follow(deadline_s=RUN_DEADLINE_S)
        except BaseException:
            # Nobody follows the run any more: end it, so that its pods go and the next start does not revive it.
            api.fail_run(DAG_ID, run_id)
            raise
        results = self._registered(api, tasks)
        if state != "success":
            raise RunFailedError(_why(api, run_id, tasks, self._request))
        if not results:
            self._say("nothing was registered: a dry run only shows that everything works")

    def _fail_leftovers(self, api: AirflowApi) -> None:
        """A run that a killed launcher left behind would train beside ours."""
        runs = api.call("GET", f"/dags/{DAG_ID}/dagRuns?state=running&state=queued&limit=100")["dag_runs"]
        for run in runs:
            left = run["dag_run_id"]
            if left.startswith("make-") and left != self._request.run_id and running_stack(self._places) is None:
                self._say(f"ending the abandoned run {left}")
                api.fail_run(DAG_ID, left)

    def _registered(self, api: AirflowApi, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Note and print what was registered, one model's failure or not."""
        run_id = self._request.run_id
        done = [t for t in tasks if t["task_id"].endswith("register.register") and t["state"] == "success"]
        results = [api.xcom(DAG_ID, run_id, t["task_id"], t["map_index"]) for t in done]
        seconds = {row.stage: row.seconds for row in [*self._rows, *stage_rows(tasks)]}
        if results:
            outcome.write_last_run(self._places.last_run, run_id, seconds, results)
        self._console.print(outcome.table_of(self._rows, tasks, self._models(api)))
        for result in results:
            self._console.print(outcome.summary(result), highlight=False, soft_wrap=True)
        return results

    def _models(self, api: AirflowApi) -> list[str]:
        """The models of the run, in the order of their tasks' map index; none where nothing was planned."""
        with contextlib.suppress(AirflowApiError):
            plans = api.xcom(DAG_ID, self._request.run_id, "plan")
            return [plan["entry"]["model_type"] for plan in plans]
        return []

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._rows.append(StageRow(stage=name, state="success", seconds=round(time.monotonic() - start, 1)))

    def _say(self, line: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')}  {line}", highlight=False, markup=False, soft_wrap=True)


def _wait_for_dags(api: AirflowApi, check: Callable[[], None]) -> None:
    end = time.monotonic() + DAG_DEADLINE_S
    waiting = [DAG_ID, DATA_DAG_ID]
    while waiting:
        check()
        errors = api.call("GET", "/importErrors?limit=5")["import_errors"]
        if errors:
            raise RunFailedError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
        with contextlib.suppress(AirflowApiError):
            api.call("PATCH", f"/dags/{waiting[-1]}?update_mask=is_paused", {"is_paused": False})
            waiting.pop()
            continue
        if time.monotonic() > end:
            raise TimeoutError(f"Airflow did not find the DAG {waiting[-1]} within {DAG_DEADLINE_S:.0f} s")
        time.sleep(0.3)


def _start_run(api: AirflowApi, request: RunRequest) -> None:
    """Trigger the run; one that has failed goes on where it failed, one that has succeeded is only shown again."""
    run = api.dag_run(DAG_ID, request.run_id)
    if run is None:
        body = {"dag_run_id": request.run_id, "logical_date": None, "conf": request.conf()}
        api.call("POST", f"/dags/{DAG_ID}/dagRuns", body)
        return
    different = {k: v for k, v in request.conf().items() if run["conf"].get(k, v) != v}
    if different:
        names = ", ".join(f"{k} was {run['conf'][k]!r}" for k in different)
        raise RequestError(f"RUN_ID {request.run_id!r} exists with other Params ({names}): use them, or another RUN_ID")
    if run["state"] == "failed":
        what = {"dag_run_id": request.run_id, "dry_run": False, "only_failed": True, "reset_dag_runs": True}
        api.call("POST", f"/dags/{DAG_ID}/clearTaskInstances", what)


def _why(api: AirflowApi, run_id: str, tasks: list[dict[str, Any]], request: RunRequest) -> str:
    failed = [t for t in tasks if t["state"] == "failed"]
    if not failed:
        return f"the run {run_id} failed, and none of its tasks did: it was ended by hand"
    first = min(failed, key=lambda t: t["end_date"] or "")
    log = api.task_log(DAG_ID, run_id, first)
    again = f"make run RUN_ID={run_id}" + (f" LAPS={request.laps}" if request.laps else "")
    if stage_of(first["task_id"]) in ("gate", "validate"):
        again = f"make gate ACTION=open REASON='the laps are mended', then {again}"
    return f"{stage_of(first['task_id'])} failed; the end of its log:\n{log}\n\nto go on where it stopped: {again}"


def main() -> int:
    """Parse the command line, run, and turn what went wrong into one clear line and a ``sysexits`` code."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--port", default="")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    places = Places.default()
    try:
        request = read_request(arguments)
        source = data_run.check_laps(request.laps) if request.laps else None
        if source is not None and source.left_out:
            print(f"note: not loaded, as BigQuery cannot hold them: columns {', '.join(source.left_out)}")
        port = _port(arguments.port)
        Launcher(request, places, console).run(port)
    except laps.LapsError as e:
        return _fail(f"LAPS: {e}", e.exit_code)
    except RequestError as e:
        return _fail(str(e), os.EX_USAGE)
    except (PortInUseError, StackGoneError, StackInUseError) as e:
        return _fail(str(e), os.EX_UNAVAILABLE)
    except (RunFailedError, data_run.DataRefusedError, ProcessFailedError, TimeoutError, AirflowApiError) as e:
        return _fail(str(e), os.EX_SOFTWARE)
    except KeyboardInterrupt:
        return _fail("interrupted; everything is stopped, the run is marked failed and can be started again", 130)
    return os.EX_OK


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise RequestError(f"PORT is {text!r}; a number from 1 to 65535")
    return require_free(int(text), "Airflow's API server", "choose another PORT, or leave it out for a free one")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
