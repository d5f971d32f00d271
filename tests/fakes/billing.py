"""A small detailed usage export of Cloud Billing, with the columns and types of the real one that cost queries read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.cloud import bigquery

PAIR = (bigquery.SchemaField("key", "STRING"), bigquery.SchemaField("value", "STRING"))
NAMED = (bigquery.SchemaField("id", "STRING"), bigquery.SchemaField("description", "STRING"))
SCHEMA = [
    bigquery.SchemaField("billing_account_id", "STRING"),
    bigquery.SchemaField("service", "RECORD", fields=NAMED),
    bigquery.SchemaField("sku", "RECORD", fields=NAMED),
    bigquery.SchemaField("usage_start_time", "TIMESTAMP"),
    bigquery.SchemaField("usage_end_time", "TIMESTAMP"),
    bigquery.SchemaField(
        "project", "RECORD", fields=(bigquery.SchemaField("id", "STRING"), bigquery.SchemaField("name", "STRING"))
    ),
    bigquery.SchemaField("labels", "RECORD", mode="REPEATED", fields=PAIR),
    # Only the detailed export says which resource a line is of.
    bigquery.SchemaField(
        "resource",
        "RECORD",
        fields=(bigquery.SchemaField("name", "STRING"), bigquery.SchemaField("global_name", "STRING")),
    ),
    bigquery.SchemaField("cost", "FLOAT64"),
    bigquery.SchemaField("currency", "STRING"),
    bigquery.SchemaField("currency_conversion_rate", "FLOAT64"),
    bigquery.SchemaField(
        "credits",
        "RECORD",
        mode="REPEATED",
        fields=(bigquery.SchemaField("name", "STRING"), bigquery.SchemaField("amount", "FLOAT64")),
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the export."""

    day: str
    service: str
    cost: float
    labels: Mapping[str, str] = field(default_factory=dict)
    credit: float = 0.0
    project: str = "local"
    rate: float = 1.0

    def row(self) -> dict[str, Any]:
        """As the export has it."""
        at = datetime.fromisoformat(self.day).replace(hour=7, tzinfo=UTC)
        return {
            "billing_account_id": "01A2B3-C4D5E6-F7A8B9",
            "service": {"id": "0000-0000-0000", "description": self.service},
            "sku": {"id": "0000", "description": f"{self.service} usage"},
            "usage_start_time": at,
            "usage_end_time": at.replace(hour=8),
            "project": {"id": self.project, "name": self.project},
            "resource": {"name": None, "global_name": None},
            "labels": [{"key": key, "value": value} for key, value in self.labels.items()],
            "cost": self.cost,
            "currency": "USD" if self.rate == 1.0 else "EUR",
            "currency_conversion_rate": self.rate,
            "credits": [{"name": "Committed use", "amount": self.credit}] if self.credit else [],
        }


def pod(budget: str, model: str, job: str) -> dict[str, str]:
    """The labels of a pod as GKE's cost allocation exports them."""
    return {
        "goog-k8s-cluster-name": "f1",
        "k8s-namespace": "f1-training",
        "k8s-label/f1-training/budget": budget,
        "k8s-label/f1-training/model-type": model,
        "k8s-label/f1-training/job-id": job,
    }


def query_job(budget: str, model: str, job: str) -> dict[str, str]:
    """The labels of a BigQuery job."""
    return {"f1-training-budget": budget, "f1-training-model": model, "f1-training-job": job}


def load(client: bigquery.Client, table: str, lines: Iterable[Line]) -> None:
    """Write the export's table anew; its dataset is made."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pair = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
    schema = pa.schema(
        [
            ("billing_account_id", pa.string()),
            ("service", pa.struct([("id", pa.string()), ("description", pa.string())])),
            ("sku", pa.struct([("id", pa.string()), ("description", pa.string())])),
            ("usage_start_time", pa.timestamp("us", tz="UTC")),
            ("usage_end_time", pa.timestamp("us", tz="UTC")),
            ("project", pa.struct([("id", pa.string()), ("name", pa.string())])),
            ("labels", pair),
            ("resource", pa.struct([("name", pa.string()), ("global_name", pa.string())])),
            ("cost", pa.float64()),
            ("currency", pa.string()),
            ("currency_conversion_rate", pa.float64()),
            ("credits", pa.list_(pa.struct([("name", pa.string()), ("amount", pa.float64())]))),
        ]
    )
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([line.row() for line in lines], schema), file)
    file.seek(0)
    client.create_dataset(table.rpartition(".")[0], exists_ok=True)
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        schema=SCHEMA,
    )
    client.load_table_from_file(file, table, job_config=config).result(timeout=30)
