"""BigQuery: snapshots of the training rows, and the checks on them."""
