"""Lineage of a run, from the source tables to the registered version, for Airflow's OpenLineage provider.

Where that is installed and has a transport, it asks an operator that has run for
``get_openlineage_facets_on_complete``. Where it is not, nobody asks, and nothing of this is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit


def moved(inputs: Iterable[str], outputs: Iterable[str]) -> Any:
    """The provider's ``OperatorLineage``: tables and URIs that were read and written; empty ones are left out."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    read, written = ([Dataset(*named(what)) for what in some if what] for some in (inputs, outputs))
    return OperatorLineage(inputs=read, outputs=written)


def named(what: str) -> tuple[str, str]:
    """Namespace and name of a BigQuery table (``project.dataset.table``) or a URI, as OpenLineage names them."""
    if "://" not in what:
        return "bigquery", what
    parts = urlsplit(what)
    if parts.scheme == "file":
        return "file", unquote(parts.path)
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
