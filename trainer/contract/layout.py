"""Where things lie below a run's URIs, so that the chief, a later attempt, Airflow and a person look in one place."""

from __future__ import annotations

RESULT = "result.json"
METRICS = "metrics.json"
BOOSTER_FILES = {"xgboost": "booster.ubj", "lightgbm": "booster.txt"}


def epoch_marker(epoch: int) -> str:
    """Created once by the chief that takes the run over; its content names the manifest it resumes from."""
    return f"epochs/{epoch:06d}/epoch.json"


def outcome(epoch: int) -> str:
    """How the chief of ``epoch`` ended, created once: pods may not replace an object."""
    return f"epochs/{epoch:06d}/outcome.json"


def manifest(epoch: int, boundary: int) -> str:
    """The manifest of the checkpoint at round ``boundary``: the commit."""
    return f"epochs/{epoch:06d}/rounds/{boundary:08d}/manifest.json"


def segment_file(epoch: int, boundary: int, suffix: str) -> str:
    """The trees of the segment that ends at round ``boundary``."""
    return f"epochs/{epoch:06d}/rounds/{boundary:08d}/segment{suffix}"
