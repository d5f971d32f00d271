"""Results of data checks: every check is one, whether it passed or not, and a report is all of them."""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import encode

log = logging.getLogger(__name__)

#: Failed checks that are named where there is no room for all, and rows that are named as examples of one check.
WORST, EXAMPLES = 3, 10


class Check(enum.StrEnum):
    """What is looked at."""

    ROWS = "rows"
    COMPLETENESS = "completeness"
    TARGET = "target"
    GROUPS = "groups"
    KEYS = "keys"
    SCHEMA = "schema"
    UNIQUE = "unique"
    FINITE = "finite"
    RANGE = "range"
    VALUES = "values"
    STEPS = "steps"
    CONSTANT = "constant"
    REFERENCE = "reference"
    TOTALS = "totals"
    FUTURE = "future"
    FRESHNESS = "freshness"
    DRIFT = "drift"
    LEAKAGE = "leakage"


class Severity(enum.StrEnum):
    """What a check that does not pass means: the data is refused, or somebody should look at it."""

    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One check of one table. ``value`` is what was found, in ``unit``; ``expected`` is what passes, in words.

    ``split`` is the table, ``column`` the column or columns that are looked at. ``examples`` are keys of rows that do
    not pass, at most ten. ``skipped`` says why nothing could be looked at; the check then counts as passed.
    """

    check: Check
    split: str
    column: str = ""
    passed: bool
    value: float
    expected: str
    severity: Severity = Severity.FAIL
    unit: str = ""
    examples: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def name(self) -> str:
        """Such as ``completeness(train.tire_age_laps)``."""
        return f"{self.check.value}({self.split}{'.' + self.column if self.column else ''})"

    @property
    def failed(self) -> bool:
        """Whether the data is refused for it."""
        return not self.passed and self.severity is Severity.FAIL

    @property
    def state(self) -> str:
        """In one word."""
        if self.skipped:
            return "skipped"
        if self.passed:
            return "passed"
        return "FAILED" if self.failed else "warning"

    @property
    def found(self) -> str:
        """``value`` with its unit."""
        return f"{self.value:.6g} {self.unit}".rstrip()

    def finding(self) -> str:
        """What was found, against what is expected."""
        if self.skipped:
            return f"{self.name}: {self.skipped}"
        such = f", such as {', '.join(self.examples[:WORST])}" if self.examples and not self.passed else ""
        return f"{self.name} is {self.found}, expected {self.expected}{such}"

    def line(self) -> str:
        """The result as one line of a log."""
        if self.skipped:
            return f"{self.state}  {self.finding()}"
        return f"{self.state}  {self.name}: {self.found}, expected {self.expected}"


def report(results: Sequence[CheckResult], table: str) -> dict[str, Any]:
    """All results as plain JSON values."""
    failed = [r.name for r in results if r.failed]
    return {
        "table": table,
        "passed": not failed,
        "failed": failed,
        "warnings": [r.name for r in results if not r.passed and not r.failed],
        "checks": [{"name": r.name, "state": r.state, **encode(r)} for r in results],
    }


def worst(results: Sequence[CheckResult]) -> str:
    """The first few checks that failed, by name."""
    names = [r.name for r in results if r.failed]
    return ", ".join(names[:WORST]) + (" and more" if len(names) > WORST else "")


def log_all(results: Sequence[CheckResult]) -> None:
    """One structured entry a check: a line for people, then the whole result as JSON. What failed comes last, where a
    log is looked at first.
    """
    for result in sorted(results, key=lambda r: (not r.passed, r.failed)):
        level = logging.ERROR if result.failed else logging.WARNING if not result.passed else logging.INFO
        log.log(level, "%s  %s", result.line(), json.dumps({"check": result.name, **encode(result)}))


def require_passed(results: Sequence[CheckResult], table: str) -> None:
    """Log every result, an entry each.

    Raises:
        TrainingFailure: ``DataInvalid`` naming all checks that failed, the worst first.
    """
    log_all(results)
    failed = [r for r in results if r.failed]
    if failed:
        named = "; ".join(r.finding() for r in failed)
        message = f"{table}: {len(failed)} of {len(results)} checks failed: {named}"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
