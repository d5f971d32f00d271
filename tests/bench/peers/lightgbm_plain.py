"""Plain ``lgb.train`` in one process."""

from __future__ import annotations

import lightgbm

from tests.bench.peers.case import Case, clock, cpu, read, rmse


def main() -> None:
    """Time one training."""
    case = Case.from_arguments()
    features, target = read(case.rows)
    params = {**case.params, "num_threads": case.threads}
    began, used = clock(), cpu()
    data = lightgbm.Dataset(features, target, params=params).construct()
    built = clock()
    booster = lightgbm.train(params, data, case.rounds)
    done, used = clock(), cpu() - used
    case.finish(built - began, done - built, used, rmse(booster.predict(features[:200_000]), target[:200_000]))


if __name__ == "__main__":
    main()
