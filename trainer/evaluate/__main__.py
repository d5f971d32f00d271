"""``python -m trainer.evaluate``: score one model on one split of a staged table, and write what was found.

The :class:`trainer.contract.EvaluationSpec` is in environment ``EVALUATION_SPEC`` or where ``--spec`` (URI or path)
points. The exit code and the termination log say how it ended; ``result_uri`` in the outcome is the metrics document.
"""

from __future__ import annotations

from trainer import termination

if __name__ == "__main__":
    termination.remember()

import argparse
import os
import sys
from collections.abc import Sequence

from trainer.chief.spec_source import read_document
from trainer.contract import EvaluationSpec, Outcome
from trainer.ending import conclude, exit_within, failure_outcome
from trainer.environment import config_error, read_environment
from trainer.evaluate.evaluation import evaluate
from trainer.logs import EventLog, open_log
from trainer.optional import do_without


def main(argv: Sequence[str]) -> int:
    """Do one evaluation. Returns the exit code."""
    log = open_log(os.environ.get("TRAINING_JOB_ID", ""), role="evaluate")
    termination_log = None
    try:
        termination_log = read_environment().termination_log
        termination.stop_if_told()
        outcome = _evaluated(_read_spec(argv), log)
    except Exception as e:  # noqa: BLE001 - whatever it is, the pod ends with a reason
        outcome = failure_outcome(log.job_id, e, log)
    code = conclude(outcome, log, termination_log)
    exit_within(code)
    return code


def _read_spec(argv: Sequence[str]) -> EvaluationSpec:
    parser = argparse.ArgumentParser(prog="trainer.evaluate", description=__doc__, exit_on_error=False)
    parser.add_argument("--spec", help="URI or path of an EvaluationSpec document")
    try:
        options, unknown = parser.parse_known_args(list(argv))
    except argparse.ArgumentError as e:
        raise config_error(f"trainer.evaluate: {e}") from e
    if unknown:
        raise config_error(f"trainer.evaluate: unknown arguments {' '.join(unknown)}")
    if options.spec:
        return EvaluationSpec.from_json(read_document(options.spec))
    if os.environ.get("EVALUATION_SPEC"):
        return EvaluationSpec.from_json(os.environ["EVALUATION_SPEC"])
    raise config_error("neither EVALUATION_SPEC nor --spec says what to evaluate")


def _evaluated(spec: EvaluationSpec, log: EventLog) -> Outcome:
    log.job_id = spec.job_id
    result, uri = evaluate(spec)
    shown = ", ".join(f"{name} {value:.6g}" for name, value in sorted(result.metrics.items()))
    log.info(
        "evaluated", f"{result.rows} rows of {spec.table} {spec.split}: {shown}", rows=result.rows, **result.metrics
    )
    return Outcome(job_id=spec.job_id, result_uri=uri)


if __name__ == "__main__":
    do_without()
    termination.end_as_preempted()
    sys.exit(main(sys.argv[1:]))
