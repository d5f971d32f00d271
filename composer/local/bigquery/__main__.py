"""``python -m composer.local.bigquery``: serve until SIGTERM."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from composer.local.bigquery import storage_read
from composer.local.bigquery.jobs import Warehouse
from composer.local.bigquery.server import Server, Uploads

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Parse the command line and serve."""
    arguments = _parser().parse_args()
    if arguments.die_with_parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    warehouse = Warehouse(arguments.data_dir, arguments.project)
    try:
        server = Server(arguments.port, warehouse, Uploads(arguments.data_dir / "uploads"))
    except OSError:
        return _in_use(arguments.port)
    try:
        grpc_server, storage_port = storage_read.serve(warehouse, arguments.storage_port)
    except OSError:
        return _in_use(arguments.storage_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoints = {"rest": f"http://127.0.0.1:{server.server_address[1]}", "storage": f"127.0.0.1:{storage_port}"}
    _announce(endpoints, arguments.ready_file)
    stop.wait()
    server.shutdown()
    grpc_server.stop(grace=0.2).wait()
    warehouse.close()
    return os.EX_OK


def _announce(endpoints: dict[str, str], ready_file: Path | None) -> None:
    text = json.dumps(endpoints)
    print(text, flush=True)
    if ready_file is not None:
        temporary = ready_file.with_name(f".{ready_file.name}.new")
        temporary.write_text(text)
        temporary.replace(ready_file)


def _in_use(port: int) -> int:
    print(f"error: port {port}, wanted for BigQuery, is in use: choose another", file=sys.stderr)
    return os.EX_UNAVAILABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="composer.local.bigquery", description=__doc__)
    parser.add_argument("--data-dir", type=lambda t: Path(t).resolve(), required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--storage-port", type=int, default=0)
    parser.add_argument("--project", default="local")
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--die-with-parent", action="store_true")
    return parser


if __name__ == "__main__":
    # Everything is closed; the interpreter's own end only makes DuckDB's bindings report what they hold.
    code = main()
    sys.stdout.flush()
    os._exit(code)
