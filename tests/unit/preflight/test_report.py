"""Findings: what fails a check, and how it is told."""

from collections.abc import Callable

import pytest

from f1_training.core.failures import ADVICE
from f1_training.preflight.report import Finding, Verdict, failed, table, tried
from trainer.contract import ContractError, FailureReason, TrainingFailure


def raising(error: Exception) -> Callable[[], str]:
    def attempt() -> str:
        raise error

    return attempt


def test_what_an_attempt_returns_is_what_was_found() -> None:
    assert tried("quota", "raise it", lambda: "room") == Finding(check="quota", verdict=Verdict.PASS, found="room")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (TrainingFailure(FailureReason.PERMISSION_DENIED, "no"), "PermissionDenied: no"),
        (ContractError("image", "is empty"), "ConfigInvalid: image: is empty"),
        (ValueError("strange"), "ValueError: strange"),
    ],
)
def test_whatever_is_raised_fails_this_check_alone(error: Exception, found: str) -> None:
    finding = tried("quota", "raise it", raising(error))
    assert (finding.verdict, finding.found, finding.fix) == (Verdict.FAIL, found, "raise it")
    assert failed([finding]) == [finding]


def test_without_a_fix_of_its_own_the_reason_s_is_told() -> None:
    finding = tried("settings", "", raising(TrainingFailure(FailureReason.STORAGE_FULL, "no")))
    assert finding.fix == ADVICE[FailureReason.STORAGE_FULL]


def test_the_table_says_what_to_do_below_what_failed() -> None:
    findings = [
        Finding(check="quota", verdict=Verdict.PASS, found="room"),
        Finding(check="permissions", verdict=Verdict.FAIL, found="none", fix="bind the Role"),
        Finding(check="channels", verdict=Verdict.SKIP, found="there are none"),
    ]
    assert table(findings).splitlines() == [
        "PASS  quota        room",
        "FAIL  permissions  none",
        "                   -> bind the Role",
        "SKIP  channels     there are none",
    ]
    assert table([]) == ""
