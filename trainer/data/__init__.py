"""Rows of a snapshot: who trains on which shards, and how they get from BigQuery into memory."""

from trainer.data.dealing import deal_shards
from trainer.data.reading import count_rows, read_table
from trainer.data.shards import LoadedRows, ShardCache, load_shards

__all__ = ["LoadedRows", "ShardCache", "count_rows", "deal_shards", "load_shards", "read_table"]
