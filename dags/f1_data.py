"""Data that models are trained on: ingest > process > validate > publish, then the models are retrained."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from f1_training.operators import (
    AnnounceOperator,
    AskToOpenOperator,
    IngestOperator,
    ProcessOperator,
    PublishOperator,
    TableChecksOperator,
    default_args,
)

DOC = """
### f1_data

Brings laps into BigQuery and makes the tables of them that models are trained and scored on.

| Task | What it does |
|---|---|
| `ingest` | checks files against the tables' columns, merges them into `f1_raw`: a race is replaced as a whole |
| `process` | derives candidates for `train`, `validation` and `test` |
| `validate` | every check of every table; the button *Data checks* opens the report |
| `publish` | puts the candidates into `f1_strategy`, each table at one stroke |
| `announce` | tells Airflow, which retrains the models; skipped when nothing has changed |

**Source.** A folder or a bucket's prefix (`gs://landing/laps`) of Parquet and CSV files named after their tables
(`laps.parquet`, `laps-2026-R05.csv`, `results.csv`), one such file, `simulator`, or a season from FastF1
(`fastf1:2026`, `fastf1:2026:4,5`). Ingested a second time, nothing is added.

**It failed in `ingest` or `validate`.** The log and the report name every check that failed, with rows to look at. The
tables of `f1_strategy` are still the last good ones; the gates of the models that read them are closed. Mend the files,
run this DAG again, then approve in *Required actions* or run `f1_training_gate` with action `open`.

**The data is right and the check is wrong.** Fewer rows or other distributions than before, on purpose: run with
*Start anew*, which compares with nothing. Other bounds are in `f1_training/data/suites/*.toml`.

It takes no locks, reads only what it has written, and runs its queries under the label `f1-training-part: data`, in the
BigQuery reservation of the setting `data.reservation`, so that nothing else waits for it.
"""

with DAG(
    dag_id="f1_data",
    description="Ingest, process and check the laps that models are trained on",
    # Monday morning, when the weekend's timing has settled.
    schedule="0 6 * * 1",
    catchup=False,
    # Two at once would publish in either order.
    max_active_runs=1,
    is_paused_upon_creation=True,
    params={
        "source": Param(
            "",
            type="string",
            title="Source",
            description="Folder, bucket prefix or file; simulator; fastf1:2026. Empty: the setting data.landing.",
        ),
        "replace": Param(
            False,
            type="boolean",
            title="Start anew",
            description="The source is all there is: other rows go, nothing is compared with the tables before.",
        ),
        "announce": Param(
            True, type="boolean", title="Retrain", description="Retrain the models if the tables have changed."
        ),
    },
    default_args=default_args(),
    tags=["f1", "data"],
    doc_md=DOC,
) as dag:
    ingest = IngestOperator(task_id="ingest")
    process = ProcessOperator(task_id="process")
    candidates = process.output
    validate = TableChecksOperator(task_id="validate", candidates=candidates)
    publish = PublishOperator(task_id="publish", candidates=candidates, statistics=validate.output)
    announce = AnnounceOperator(task_id="announce", changed=publish.output, statistics=validate.output)
    ask = AskToOpenOperator(task_id="ask_to_open", trigger_rule="one_failed")
    ingest >> process
    [ingest, validate] >> ask
