"""BigQuery on one machine: its REST API and its Storage Read API over DuckDB, SQL translated by sqlglot."""
