"""What a preflight found: one :class:`Finding` a check, as a table for people. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from f1_training.core.failures import ADVICE, described
from trainer.contract import ContractError, FailureReason, TrainingFailure


class Verdict(enum.StrEnum):
    """What became of a check. ``SKIP`` says why it was not made."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One row: what was checked, what was found, and for a failure what to do."""

    check: str
    verdict: Verdict
    found: str
    fix: str = ""


def tried(check: str, fix: str, attempt: Callable[[], str]) -> Finding:
    """The finding of ``attempt``, which returns what it found. Whatever it raises fails this check and no other."""
    try:
        return Finding(check=check, verdict=Verdict.PASS, found=attempt())
    except TrainingFailure as e:
        return Finding(check=check, verdict=Verdict.FAIL, found=described(e), fix=fix or ADVICE[e.reason])
    except ContractError as e:
        found = f"{FailureReason.CONFIG_INVALID.value}: {e}"
        return Finding(check=check, verdict=Verdict.FAIL, found=found, fix=fix)
    except Exception as e:  # noqa: BLE001 - the other checks are to be made all the same
        return Finding(check=check, verdict=Verdict.FAIL, found=f"{type(e).__name__}: {e}", fix=fix)


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """Those that failed."""
    return [finding for finding in findings if finding.verdict is Verdict.FAIL]


def table(findings: Sequence[Finding]) -> str:
    """One line a check, with a line below for what to do."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict.value.upper():<4}  {finding.check:<{width}}  {finding.found}")
        if finding.verdict is Verdict.FAIL and finding.fix:
            lines.append(f"{'':<4}  {'':<{width}}  -> {finding.fix}")
    return "\n".join(lines)
