"""The real clients against the stand-in: loads, jobs, paging, destinations, limits, persistence, streams."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict, Forbidden, GoogleAPICallError, InvalidArgument, NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from composer.local.bigquery.testing import Endpoints, running_bigquery
from composer.local.laps import emulator_client
from composer.local.places import REPOSITORY
from f1_training.bigquery.client import Warehouse
from tests.fakes.run_plan import settings
from trainer.contract import FailureReason, TrainingFailure


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    with running_bigquery(tmp_path_factory.mktemp("bigquery")) as found:
        yield found


@pytest.fixture
def client(endpoints: Endpoints) -> Iterator[bigquery.Client]:
    found = emulator_client(endpoints.rest)
    found.create_dataset("d", exists_ok=True)
    yield found
    found.delete_dataset("d", delete_contents=True)


def load(client: bigquery.Client, name: str, table: pa.Table, disposition: str = "WRITE_TRUNCATE") -> bigquery.LoadJob:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    sink.seek(0)
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition=disposition)
    job = client.load_table_from_file(sink, f"d.{name}", job_config=config)
    job.result(timeout=30)
    return job


def values(client: bigquery.Client, sql: str, **options: object) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in client.query(sql, **options).result(timeout=30)]  # type: ignore[arg-type]


def test_load_and_read_back_with_lists_and_nulls(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": [1, None], "b": [["x", "y"], []], "c": [1.5, float("nan")], "d": [True, None]}))
    fields = {f.name: (f.field_type, f.mode) for f in client.get_table("d.t").schema}
    assert fields["a"] == ("INTEGER", "NULLABLE")
    assert fields["b"] == ("STRING", "REPEATED")
    assert [tuple(r.values())[:2] for r in client.list_rows("d.t")] == [(1, ["x", "y"]), (None, [])]


def test_append_and_truncate(client: bigquery.Client) -> None:
    rows = pa.table({"a": [1, 2]})
    load(client, "t", rows)
    load(client, "t", rows, "WRITE_APPEND")
    assert client.get_table("d.t").num_rows == 4
    load(client, "t", rows)
    assert client.get_table("d.t").num_rows == 2


def test_a_load_that_fails_leaves_the_table_as_it_was(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": [1]}))
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
    with pytest.raises(GoogleAPICallError):
        client.load_table_from_file(io.BytesIO(b"PAR1 this is none"), "d.t", job_config=config).result(timeout=30)
    assert values(client, "SELECT a FROM d.t") == [(1,)]


def test_results_come_in_pages(client: bigquery.Client) -> None:
    rows = client.query("SELECT n FROM UNNEST(GENERATE_ARRAY(1, 100)) AS n ORDER BY n").result(page_size=30)
    assert [r.n for r in rows] == list(range(1, 101))


def test_parameters_of_every_kind(client: bigquery.Client) -> None:
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("i", "INT64", 7),
            bigquery.ScalarQueryParameter("s", "STRING", "it's"),
            bigquery.ScalarQueryParameter("b", "BOOL", True),
            bigquery.ScalarQueryParameter("none", "STRING", None),
            bigquery.ArrayQueryParameter("many", "INT64", [1, 2]),
        ]
    )
    sql = "SELECT @i + 1, @s, @b, @none, (SELECT SUM(n) FROM UNNEST(@many) AS n)"
    assert values(client, sql, job_config=config) == [(8, "it's", True, None, 3)]


def test_destination_partitions_labels_and_expiry(client: bigquery.Client) -> None:
    config = bigquery.QueryJobConfig(destination="local.d.t", write_disposition="WRITE_TRUNCATE")
    config.range_partitioning = bigquery.RangePartitioning(
        field="shard", range_=bigquery.PartitionRange(start=0, end=4, interval=1)
    )
    config.labels = {"job": "x"}
    client.query("SELECT 1 AS shard, 2 AS b", job_config=config).result(timeout=30)
    table = client.get_table("d.t")
    assert table.range_partitioning.field == "shard"
    assert table.labels == {}, "a job's labels are the job's"
    table.expires = datetime.now(UTC) + timedelta(seconds=0.5)
    client.update_table(table, ["expires"])
    with pytest.raises(NotFound):
        while datetime.now(UTC) < table.expires + timedelta(seconds=10):
            client.get_table("d.t")


def test_a_destination_is_replaced_at_one_stroke_or_not_at_all(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": [1]}))
    config = bigquery.QueryJobConfig(destination="local.d.t", write_disposition="WRITE_TRUNCATE")
    with pytest.raises(BadRequest, match="division by zero"):
        client.query("SELECT 1 / a AS a FROM UNNEST([0]) AS a", job_config=config).result(timeout=30)
    assert values(client, "SELECT a FROM d.t") == [(1,)]


def test_job_ids_are_used_once_and_jobs_can_be_looked_up(client: bigquery.Client) -> None:
    client.query("SELECT 1", job_id="once", job_retry=None).result(timeout=30)
    with pytest.raises(Conflict, match="Already Exists: Job local:US.once"):
        client.query("SELECT 2", job_id="once", job_retry=None)
    assert client.get_job("once").state == "DONE"


def test_dry_run_estimates_and_a_limit_refuses(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": list(range(1000)), "b": [1.0] * 1000}))
    job = client.query("SELECT a FROM d.t", job_config=bigquery.QueryJobConfig(dry_run=True))
    assert job.total_bytes_processed == 8000
    limited = bigquery.QueryJobConfig(maximum_bytes_billed=7999)
    with pytest.raises(GoogleAPICallError, match="exceeded limit for bytes billed") as caught:
        client.query("SELECT a FROM d.t", job_config=limited).result(timeout=30)
    assert caught.value.errors[0]["reason"] == "bytesBilledLimitExceeded"


def test_statistics_name_the_tables_that_were_read(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": [1]}))
    job = client.query("SELECT a FROM d.t UNION ALL SELECT a FROM d.t")
    job.result(timeout=30)
    assert [t.table_id for t in job.referenced_tables] == ["t"]


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELECT * FROM d.nope", NotFound, "Not found: Table local:d.nope was not found in location US"),
        ("SELECT nope FROM UNNEST([1]) AS x", BadRequest, "nope"),
        ("SELEC 1", BadRequest, "Syntax error"),
        ("SELECT SOUNDEX('a')", BadRequest, "Function not served by this stand-in: SOUNDEX"),
        ("SELECT * FROM t", BadRequest, "must be qualified with a dataset"),
        ("EXPORT DATA OPTIONS(uri='gs://x') AS SELECT 1", BadRequest, "not supported by this stand-in|Syntax error"),
    ],
)
def test_refusals(client: bigquery.Client, sql: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        client.query(sql).result(timeout=30)


def test_dml_counts_rows_and_merge_works(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"k": [1, 2], "v": [10, 20]}))
    sql = (
        "MERGE d.t AS t USING (SELECT 2 AS k, 99 AS v UNION ALL SELECT 3, 30) AS s ON t.k = s.k "
        "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)"
    )
    job = client.query(sql)
    job.result(timeout=30)
    assert job.num_dml_affected_rows == 2
    assert values(client, "SELECT k, v FROM d.t ORDER BY k") == [(1, 10), (2, 99), (3, 30)]


def test_merge_replaces_whole_groups(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"race": ["a", "b", "b"], "lap": [1, 1, 2]}))
    load(client, "s", pa.table({"race": ["b", "c"], "lap": [7, 1]}))
    sql = (
        "MERGE d.t AS kept USING d.s AS fresh ON FALSE "
        "WHEN NOT MATCHED BY SOURCE AND kept.race IN UNNEST(@races) THEN DELETE "
        "WHEN NOT MATCHED BY TARGET THEN INSERT (race, lap) VALUES (race, lap)"
    )
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ArrayQueryParameter("races", "STRING", ["b", "c"])])
    for _ in range(2):
        client.query(sql, job_config=config).result(timeout=30)
        assert values(client, "SELECT race, lap FROM d.t ORDER BY race") == [("a", 1), ("b", 7), ("c", 1)]


def test_examples_are_a_limited_array(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"k": ["c", "a", "b"], "v": [1, 2, None]}))
    shown = "ARRAY_AGG(IF({0}, k, NULL) IGNORE NULLS ORDER BY IF({0}, k, NULL) LIMIT 2), ARRAY_AGG(IF({0}, k, NULL) IGNORE NULLS ORDER BY k DESC LIMIT 2)"
    sql = f"SELECT {shown.format('TRUE')}, {shown.format('v > 1')}, {shown.format('v > 9')} FROM d.t"
    assert values(client, sql) == [(["a", "b"], ["c", "b"], ["a"], ["a"], [], [])]
    with pytest.raises(BadRequest, match="null element"):
        client.query("SELECT ARRAY_AGG(v) FROM d.t").result(timeout=30)


def test_copy_replaces_at_one_stroke_and_keeps_clustering(client: bigquery.Client) -> None:
    config = bigquery.QueryJobConfig(destination="local.d.s", write_disposition="WRITE_TRUNCATE")
    config.clustering_fields = ["a"]
    client.query("SELECT 1 AS a UNION ALL SELECT 2", job_config=config).result(timeout=30)
    load(client, "t", pa.table({"b": [9]}))
    copy = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    client.copy_table("local.d.s", "local.d.t", job_config=copy).result(timeout=30)
    assert sorted(values(client, "SELECT a FROM d.t")) == [(1,), (2,)]
    assert client.get_table("d.t").clustering_fields == ["a"]
    with pytest.raises(NotFound):
        client.copy_table("local.d.nothing", "local.d.t", job_config=copy).result(timeout=30)
    assert sorted(values(client, "SELECT a FROM d.t")) == [(1,), (2,)]


def test_a_schema_may_only_grow(client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": [1]}))
    table = client.get_table("d.t")
    table.schema = [*table.schema, bigquery.SchemaField("b", "STRING")]
    client.update_table(table, ["schema"])
    assert values(client, "SELECT a, b FROM d.t") == [(1, None)]
    table.schema = [bigquery.SchemaField("a", "STRING"), bigquery.SchemaField("b", "STRING")]
    with pytest.raises(BadRequest, match="changed type from INTEGER to STRING"):
        client.update_table(table, ["schema"])


def test_queries_beside_each_other(endpoints: Endpoints, client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": list(range(50_000))}))

    def query(number: int) -> object:
        own = emulator_client(endpoints.rest)
        return values(own, f"SELECT COUNTIF(MOD(a, 10) = {number % 10}) FROM d.t")[0][0]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(query, range(12))) == [5000] * 12


def reader(endpoints: Endpoints) -> BigQueryReadClient:
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(endpoints.storage)))


def session(endpoints: Endpoints, table: str, columns: list[str], restriction: str, streams: int) -> types.ReadSession:
    options = types.ReadSession.TableReadOptions(selected_fields=columns, row_restriction=restriction)
    wanted = types.ReadSession(
        table=f"projects/local/datasets/d/tables/{table}", data_format=types.DataFormat.ARROW, read_options=options
    )
    return reader(endpoints).create_read_session(
        parent="projects/local", read_session=wanted, max_stream_count=streams, timeout=30
    )


def test_streams_share_the_rows_out(endpoints: Endpoints, client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": list(range(250_000)), "s": ["x", "it's"] * 125_000}))
    found = session(endpoints, "t", ["a"], "s = 'it\\'s' AND a IN (1, 2, 3, 249999)", 4)
    assert len(found.streams) == 3
    rows = [reader(endpoints).read_rows(s.name).to_arrow(found).column("a").to_pylist() for s in found.streams]
    assert sorted(n for part in rows for n in part) == [1, 3, 249999]


def test_a_stream_goes_on_at_its_offset(endpoints: Endpoints, client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": list(range(40_000))}))
    found = session(endpoints, "t", ["a"], "", 1)
    rows = reader(endpoints).read_rows(found.streams[0].name, offset=39_990).to_arrow(found)
    assert rows.column("a").to_pylist() == list(range(39_990, 40_000))


def test_sessions_refuse_what_is_not_there(endpoints: Endpoints, client: bigquery.Client) -> None:
    load(client, "t", pa.table({"a": [1]}))
    with pytest.raises(NotFound, match="Table local:d.nope"):
        session(endpoints, "nope", [], "", 1)
    with pytest.raises(InvalidArgument, match="do not exist in the table schema: b"):
        session(endpoints, "t", ["b"], "", 1)


def test_everything_survives_a_kill(tmp_path: Path) -> None:
    with contextlib.suppress(ProcessLookupError), running_bigquery(tmp_path) as first:
        client = emulator_client(first.rest)
        client.create_dataset("d")
        load(client, "t", pa.table({"a": [1, 2, 3]}))
        table = client.get_table("d.t")
        table.labels = {"kept": "yes"}
        client.update_table(table, ["labels"])
        os.kill(first.pid, signal.SIGKILL)
    with running_bigquery(tmp_path) as second:
        table = emulator_client(second.rest).get_table("d.t")
        assert table.num_rows == 3
        assert table.labels == {"kept": "yes"}


def test_a_dataset_that_is_there_takes_no_right_to_make_one(
    client: bigquery.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise Forbidden("bigquery.datasets.create")

    warehouse = Warehouse(client, settings(project=client.project))
    warehouse.ensure_dataset("made")
    monkeypatch.setattr(client, "create_dataset", refused)
    warehouse.ensure_dataset("made")
    with pytest.raises(TrainingFailure, match=r"dataset missing.*bigquery\.datasets\.create") as caught:
        warehouse.ensure_dataset("missing")
    assert caught.value.reason is FailureReason.PERMISSION_DENIED
    client.delete_dataset("made")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "composer.local.bigquery", "--data-dir", str(tmp_path), "--port", str(port)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr == f"error: port {port}, wanted for BigQuery, is in use: choose another\n"
