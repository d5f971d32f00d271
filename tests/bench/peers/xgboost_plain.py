"""Plain ``xgboost.train`` in one process."""

from __future__ import annotations

import xgboost

from tests.bench.peers.case import Case, clock, cpu, read, rmse


def main() -> None:
    """Time one training."""
    case = Case.from_arguments()
    features, target = read(case.rows)
    began, used = clock(), cpu()
    matrix = xgboost.QuantileDMatrix(features, target, max_bin=case.params["max_bin"], nthread=case.threads)
    built = clock()
    booster = xgboost.train({**case.params, "nthread": case.threads}, matrix, case.rounds)
    done, used = clock(), cpu() - used
    case.finish(built - began, done - built, used, rmse(booster.predict(matrix), target))


if __name__ == "__main__":
    main()
