"""The chief's decisions as pure functions: seeds, segment lengths, base score, early stopping, the model's rounds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from trainer.contract import (
    CheckpointPolicy,
    EarlyStopping,
    FailureReason,
    Manifest,
    Objective,
    TrainingFailure,
    TrainingSpec,
)

#: From this many cells (rows times features) on the first segment is a short one, because no round was measured yet.
LARGE_CELLS = 1_000_000_000
FIRST_ROUNDS_OF_LARGE = 10

CLASSIFIER_BASE_SCORE = 0.5


def segment_seed(base: int, segment: int) -> int:
    """The seed of segment ``segment``: the same on every machine and Python, and below 2**31 as both libraries ask."""
    digest = hashlib.sha256(f"segment {segment} of seed {base}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def segment_rounds(
    policy: CheckpointPolicy, rounds_left: int, round_s: float | None, cells: int = 0, losses: int = 0
) -> int:
    """How many rounds the next segment trains.

    Args:
        policy: at most ``segment_rounds`` rounds and ``max_segment_s`` seconds.
        rounds_left: rounds that are still to be trained, 1 or more.
        round_s: seconds a round took in the segment before; None for the first one.
        cells: rows times features, which shorten a first segment when there are very many.
        losses: how often in a row this very segment was lost. Where workers are lost more often than a segment is long,
            it is halved from the second time on, so that the job gets on; the first time it is repeated as it was.
    """
    rounds = min(max(1, policy.segment_rounds >> max(0, losses - 1)), rounds_left)
    if round_s is None:
        return min(rounds, FIRST_ROUNDS_OF_LARGE) if cells >= LARGE_CELLS else rounds
    fitting = math.floor(policy.max_segment_s / round_s) if round_s > 0 else rounds
    return max(1, min(rounds, fitting))


def base_score(objective: Objective, sums: Iterable[tuple[float, float]]) -> float:
    """The constant that boosting starts from, pinned so that it does not depend on how rows lie on workers.

    ``sums`` holds each rank's sum of target times weight and sum of weights. Regression starts from the mean;
    classifiers from an even chance, the libraries' own default.

    Raises:
        TrainingFailure: ``DataInvalid`` when the mean is not a finite number.
    """
    if objective in (Objective.BINARY_LOGISTIC, Objective.MULTICLASS):
        return CLASSIFIER_BASE_SCORE
    pairs = list(sums)
    total, weight = math.fsum(t for t, _ in pairs), math.fsum(w for _, w in pairs)
    if weight <= 0 or not math.isfinite(total):
        message = f"the target's mean is not a number (sum {total}, weight {weight}); look for nulls and infinities"
        raise TrainingFailure(FailureReason.DATA_INVALID, message)
    return total / weight


def observe(state: EarlyStopping, values: Sequence[float], first_round: int, patience: int) -> EarlyStopping:
    """Early stopping after the rounds ``first_round`` + 1 and on, whose metric (lower is better) is ``values``.

    ``patience`` is how many rounds without a better value end training; 0 never does. The best round is kept in any
    case. Rounds after the one that stops are not looked at, wherever the segment happened to end.
    """
    best_round, best_value = state.best_round, state.best_value
    for number, value in enumerate(values, start=first_round + 1):
        if best_value is None or value < best_value:
            best_round, best_value = number, value
        elif patience and number - best_round >= patience:
            return EarlyStopping(best_round=best_round, best_value=best_value, stopped=True)
    return EarlyStopping(best_round=best_round, best_value=best_value, stopped=state.stopped)


def is_finished(spec: TrainingSpec, boosting_round: int, early_stopping: EarlyStopping) -> bool:
    """Whether no round is left to train."""
    return early_stopping.stopped or boosting_round >= spec.rounds


def model_rounds(spec: TrainingSpec, manifest: Manifest) -> int:
    """How many rounds the finished model has: up to the best one when early stopping was asked for."""
    best = manifest.early_stopping.best_round
    return best if spec.early_stopping_rounds and best else manifest.round


def add_sums(ranks: Sequence[Sequence[Sequence[float]]]) -> list[tuple[float, float]]:
    """All ranks' ``[sum, weight]`` a round added up exactly, so that the order of ranks does not matter.

    Raises:
        ValueError: ranks report different numbers of rounds.
    """
    rounds = zip(*ranks, strict=True)
    return [(math.fsum(s for s, _ in pairs), math.fsum(w for _, w in pairs)) for pairs in rounds]


def require_agreement(digests: Sequence[str]) -> None:
    """All ranks must have grown the same trees.

    Raises:
        TrainingFailure: ``Bug`` naming the ranks that differ from rank 0.
    """
    others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if others:
        message = f"ranks {', '.join(map(str, others))} grew other trees than rank 0; the checkpoint is not committed"
        raise TrainingFailure(FailureReason.BUG, message)
