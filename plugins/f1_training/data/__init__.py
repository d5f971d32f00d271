"""Data worth training on: sources, ingest, process, validation."""
