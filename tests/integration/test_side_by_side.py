"""A run for all models on Airflow's own scheduling: what fails of one model, and a file that is wrong, stop no other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from composer.local.places import REPOSITORY
from trainer.contract.catalogue import FOLDER

#: Runs the DAG with a database of its own. Operators only say that they were there, but for the checks of one model.
PROGRAM = """
import json, sys, warnings
from pathlib import Path
import trainer.contract
catalogue = trainer.contract.read_catalogue(Path(sys.argv[1]))
trainer.contract.read_catalogue = lambda: catalogue
from airflow.utils.db import initdb
initdb()
import runpy
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    dag = runpy.run_path(sys.argv[2])["dag"]
from airflow.sdk.exceptions import AirflowFailException
def run(self, context):
    if self.task_id.endswith("validate") and self.plan["entry"]["model_type"] == "damaged":
        raise AirflowFailException("DataInvalid: a check failed")
    return {}
for task in dag.tasks:
    if task.task_id.startswith("model."):
        task.operator_class.execute = run
done = dag.test(logical_date=None, run_conf={})
states = {f"{t.task_id.rpartition('.')[2]}[{t.map_index}]": t.state for t in done.get_task_instances()}
form = dag.params.get_param("model_type").schema
print(json.dumps({"state": done.state, "tasks": states, "doc": dag.doc_md, "enum": form["enum"],
                  "labels": form["values_display"], "warned": [str(w.message) for w in warned]}))
"""
BEFORE, AFTER = ("gate", "snapshot"), (
    "train", "evaluate", "register", "upload_to_vertex", "serve", "deploy_to_vertex",
)  # fmt: skip


@pytest.mark.slow
def test_a_failing_model_and_a_bad_file_stop_no_other_model(tmp_path: Path) -> None:
    models, dags = tmp_path / "models", tmp_path / "dags"
    models.mkdir()
    dags.mkdir()
    shutil.copy(REPOSITORY / "dags" / "f1_training.py", dags)
    good = (FOLDER / "tire_degradation.toml").read_text()
    for name in ("damaged", "healthy", "misspelt"):
        text = good.replace('model_type = "tire_degradation"', f'model_type = "{name}"')
        (models / f"{name}.toml").write_text(text.replace("rounds =", "runds =") if name == "misspelt" else text)
    uris = {name: f"file://{tmp_path}/{name}" for name in ("checkpoints", "artifacts", "models")}
    environment = {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX") if name in os.environ},
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW_VAR_F1_TRAINING": json.dumps({"project": "f1-project", "image": "image:1", "uris": uris}),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}",
    }
    command = [sys.executable, "-c", PROGRAM, str(models), str(dags / "f1_training.py")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    damaged = {task: state for task, state in found["tasks"].items() if task.endswith("[0]")}
    healthy = {task: state for task, state in found["tasks"].items() if task.endswith("[1]")}
    assert healthy == {
        **{f"{task}[1]": "success" for task in (*BEFORE, "validate", *AFTER)},
        "ask_to_open[1]": "skipped",
    }
    assert damaged == {
        **{f"{task}[0]": "success" for task in (*BEFORE, "ask_to_open")},
        "validate[0]": "failed",
        **{f"{task}[0]": "upstream_failed" for task in AFTER},
    }

    # The bad file: its model has no branch, the run says that it failed, and where the file is wrong.
    assert (found["state"], found["tasks"]["catalogue[-1]"], found["tasks"]["plan[-1]"]) == (
        "failed",
        "failed",
        "success",
    )
    problem = "misspelt.toml: runds: is unknown; known are "
    assert f"misspelt cannot be trained: {problem}" in done.stdout + done.stderr
    assert [text for text in found["warned"] if text.startswith(problem)]
    assert found["doc"].startswith("**Not trained: `misspelt`.**")
    assert problem in found["doc"]
    assert found["enum"] == ["all", "damaged", "healthy", "misspelt"]
    assert found["labels"] == {"misspelt": "misspelt (its file cannot be read)"}
