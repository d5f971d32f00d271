"""``lightgbm.dask``, two workers of one thread."""

from __future__ import annotations

from tests.bench.peers.case import Case, clock, read, rmse
from tests.bench.peers.on_dask import cpu_of, spread


def main() -> None:
    """Time one training."""
    from lightgbm import DaskLGBMRegressor

    case = Case.from_arguments()
    names = {"num_leaves", "max_depth", "learning_rate", "max_bin", "min_child_samples", "verbosity"}
    own = {name: value for name, value in case.params.items() if name in names}
    with spread(case) as (client, features, target):
        model = DaskLGBMRegressor(client=client, n_estimators=case.rounds, tree_learner="data", **own)
        began, used = clock(), cpu_of(client)
        model.fit(features, target)
        done, used = clock(), cpu_of(client) - used
        some, expected = read(case.rows, 0, 10)
        predicted = model.to_local().predict(some)
    case.finish(0.0, done - began, used, rmse(predicted, expected))


if __name__ == "__main__":
    main()
