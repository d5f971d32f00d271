"""Alerts on the metrics of training: one file of queries and thresholds, for Terraform, Prometheus and the tests."""
