"""Rows of a snapshot: who trains on which shards, and how they get from BigQuery into memory."""

from trainer.data.dealing import deal_shards
from trainer.data.reading import TableReader, count_rows, read_split, read_table, storage_read_client
from trainer.data.rows import Rows, column, matrix, no_rows
from trainer.data.shards import ShardReader

__all__ = [
    "Rows",
    "ShardReader",
    "TableReader",
    "column",
    "count_rows",
    "deal_shards",
    "matrix",
    "no_rows",
    "read_split",
    "read_table",
    "storage_read_client",
]
