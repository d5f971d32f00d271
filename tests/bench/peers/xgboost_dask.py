"""``xgboost.dask``, two workers of one thread."""

from __future__ import annotations

from tests.bench.peers.case import Case, clock, read, rmse
from tests.bench.peers.on_dask import cpu_of, spread


def main() -> None:
    """Time one training."""
    from xgboost import dask as dxgb

    case = Case.from_arguments()
    with spread(case) as (client, features, target):
        began, used = clock(), cpu_of(client)
        matrix = dxgb.DaskQuantileDMatrix(client, features, target, max_bin=case.params["max_bin"])
        built = clock()
        made = dxgb.train(client, {**case.params, "nthread": case.threads}, matrix, num_boost_round=case.rounds)
        done, used = clock(), cpu_of(client) - used
        some, expected = read(case.rows, 0, 10)
        predicted = made["booster"].inplace_predict(some)
    # The Dask matrix only collects references: it is built inside train().
    case.finish(built - began, done - built, used, rmse(predicted, expected))


if __name__ == "__main__":
    main()
