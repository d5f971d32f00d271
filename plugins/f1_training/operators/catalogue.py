"""Files of the catalogue that cannot be read: they stop no other model, and nobody overlooks them."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from f1_training.core.failures import airflow_errors
from trainer.contract import ALL_MODELS, Catalogue, FailureReason, TrainingFailure, read_catalogue

log = logging.getLogger(__name__)


class CatalogueWarning(UserWarning):
    """A file of the catalogue could not be read when a DAG file was parsed."""


def with_problems(doc: str, catalogue: Catalogue) -> str:
    """``doc`` of a DAG, with a warning above it that names every file that cannot be read; Airflow gets it, too."""
    if not catalogue.problems:
        return doc
    problems = list(catalogue.problems.values())
    for problem in problems:
        warnings.warn(problem, CatalogueWarning, stacklevel=2)
    lines = "\n".join(f"- `{problem}`" for problem in problems)
    models = ", ".join(f"`{name}`" for name in catalogue.problems)
    return f"**Not trained: {models}.** Correct the file in `trainer/contract/models`:\n\n{lines}\n\n{doc.lstrip()}"


def require_readable(context: Any) -> None:
    """Fail a run for all models when one of them has a file that cannot be read; a run that names another goes on.

    Raises:
        AirflowFailException: ``ConfigInvalid`` naming every such file, its field and the reason.
    """
    problems = list(read_catalogue().problems.values())
    for problem in problems:
        log.error("%s", problem)
    if not problems or context["params"]["model_type"] != ALL_MODELS:
        return
    with airflow_errors():
        models = ", ".join(sorted(read_catalogue().problems))
        raise TrainingFailure(FailureReason.CONFIG_INVALID, f"{models} cannot be trained: {'; '.join(problems)}")
