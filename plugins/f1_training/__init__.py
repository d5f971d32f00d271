"""The Airflow side: from a DAG run's Params to a registered model, through BigQuery and Kubernetes."""

from __future__ import annotations


def package_version() -> str:
    """The installed version of the distribution that holds this package and the trainer."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("f1-training")
    except PackageNotFoundError:
        return "0+unknown"
