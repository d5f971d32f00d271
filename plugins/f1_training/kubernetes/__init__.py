"""Kubernetes: what a job's objects look like, and what became of them."""
