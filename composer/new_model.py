"""``make new-model``: a commented file of the catalogue for a model that is not there yet."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from f1_training.data.suite import Suite, strategy_suites
from trainer.contract import CatalogueError, Engine
from trainer.contract.catalogue import FOLDER, SCHEMA, ChecksEntry, ModelName, read_entry
from trainer.contract.fields import ContractError, require
from trainer.contract.rules import rules_of

#: What `make` calls each argument, by the field of the file.
VARIABLES = {"model_type": "NAME", "target": "TARGET", "features": "FEATURES", "engine": "ENGINE"}
PARAMS = {
    Engine.XGBOOST: {"max_depth": 6, "learning_rate": 0.05, "subsample": 0.8, "min_child_weight": 20},
    Engine.LIGHTGBM: {"num_leaves": 47, "learning_rate": 0.05, "bagging_fraction": 0.8, "bagging_freq": 1},
}
TEMPLATE = """\
#:schema ./schema.json
# Every field is described in schema.json beside this file; docs/models.md says what follows from them.
schema = {schema}
model_type = "{name}"
description = "{target}, predicted from {count} columns." # say what for, and from what
owner = "race-strategy" # the team that answers for it
schedule = "on_demand" # "weekly" once it is good enough to be trained by every run
engine = "{engine}" # xgboost or lightgbm
objective = "absolute_error" # squared_error, binary_logistic, multiclass (with class_names)
metric = "mae" # or rmse; log_loss for binary_logistic, multi_log_loss for multiclass
target = "{target}"
unit = "{unit}"
baseline = 0.0 # the naive constant prediction, in the target's unit: a champion must beat it
# Columns of f1_strategy that are known before the target is; strike what the model should not see.
features = [
{features}
]
eligible = "{eligible}" # a Boolean column: the rows that count
group = "{group}" # rows that stay together: on one shard, and drawn as one for intervals
keys = {keys}
rounds = 500
early_stopping_rounds = 50
seed = 7

# The library's own parameters. The other engine has a table of its own.
[params.{engine}]
{params}

[checks]
min_completeness = 0.95
min_rows = 1000
sparse = [{sparse}] # features known to be often null

[splits]
train = "{tables[0]}"
validation = "{tables[1]}"
test = "{tables[2]}"

# What a worker requests. Tiers: small, medium, large, highmem (docs/models.md).
[resources]
tier = "small"
cpu = "3"
memory = "8Gi"
disk = "10Gi"

[chief_resources]
cpu = "1"
memory = "2Gi"
disk = "2Gi"

# Once it has been measured:
# [cost]
# usd_per_run = 0.10
# basis = "4 workers of n1-standard-4 for 6 minutes, on-demand prices of 2026-11"
"""

NEXT = """\
wrote {path}; what next:
  1. edit it: what is predicted, the features, who owns it; an editor that knows schema.json checks as you type
  2. make test ARGS=tests/unit/contract/test_catalogue.py   says file, field and reason of what is wrong
  3. make run MODEL={name} DRY_RUN=1                        20 rounds on simulated laps
  4. commit and deploy it; a run of f1_training that names it trains it, schedule = "weekly" lets every run train it"""


def scaffold(folder: Path, name: str, *, target: str = "", features: str = "", engine: str = "") -> Path:
    """Write ``<name>.toml`` into ``folder`` and return its path; ``features`` are separated by commas.

    Without ``target`` it predicts what the tables are made for, without ``features`` it sees every number that is known
    before the target is.

    Raises:
        ContractError: naming the field that is wrong.
        CatalogueError: the file that follows from it would be.
    """
    for rule in rules_of(ModelName)[1]:
        rule.check(name, "model_type")
    require(not engine or engine in tuple(Engine), "engine", f"is {engine!r}; one of {', '.join(Engine)}")
    suite = _suite_of(target)
    target = target or (suite.leakage.target if suite.leakage else "")
    _require_numbers(suite, "target", [target])
    text = _text(suite, name, target, _chosen_features(suite, target, features), Engine(engine or Engine.XGBOOST))
    path = folder / f"{name}.toml"
    _write(path, text)
    return path


def _suite_of(target: str) -> Suite:
    """The tables that are made for ``target``, or else have it; those of laps where there is none."""
    suites = strategy_suites()
    made_for = [suite for suite in suites.values() if suite.leakage and suite.leakage.target == target]
    having = [suite for suite in (suites["strategy"], *suites.values()) if target in suite.columns]
    return [*made_for, *having, suites["strategy"]][0]


def _write(path: Path, text: str) -> None:
    """Write a file that is not there yet; one that cannot be read does not stay."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CatalogueError(f"{path} is there already; choose another name, or edit it") from None
    try:
        read_entry(path)
    except CatalogueError:
        path.unlink()
        raise


def _chosen_features(suite: Suite, target: str, features: str) -> list[str]:
    hidden = {*(suite.leakage.hindsight if suite.leakage else ()), target}
    if not features:
        return [name for name, column in suite.columns.items() if column.type.is_number and name not in hidden]
    names = [part.strip() for part in features.split(",") if part.strip()]
    _require_numbers(suite, "features", names)
    late = sorted(hidden & set(names))
    require(not late, "features", f"holds {', '.join(late)}: known only with the target, so that is leakage")
    return names


def _require_numbers(suite: Suite, field: str, names: Sequence[str]) -> None:
    """Only numbers of ``f1_strategy`` can be learned from."""
    known = [name for name, column in suite.columns.items() if column.type.is_number]
    strangers = [name for name in names if name not in known]
    problem = f"names {', '.join(strangers)}; the numbers of f1_strategy are {', '.join(known)}"
    require(not strangers, field, problem)


def _text(suite: Suite, name: str, target: str, features: Sequence[str], engine: Engine) -> str:
    # The tables' own checks let these be null more often than a model's checks do.
    sparse = [column for column in features if (suite.least(column) or 0) < ChecksEntry().min_completeness]
    return TEMPLATE.format(
        schema=SCHEMA,
        name=name,
        target=target,
        unit=suite.columns[target].unit,
        count=len(features),
        engine=engine.value,
        features="\n".join(f'    "{feature}",' for feature in features),
        eligible=suite.leakage.among if suite.leakage else "",
        group=suite.group,
        tables=suite.labels,
        keys="[" + ", ".join(f'"{key}"' for key in suite.keys) + "]",
        params="\n".join(f"{key} = {value}" for key, value in PARAMS[engine].items()),
        sparse=", ".join(f'"{column}"' for column in sparse),
    )


def main() -> int:
    """Write the file, and say what to do next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="")
    parser.add_argument("--target", default="")
    parser.add_argument("--features", default="")
    parser.add_argument("--engine", default="")
    parser.add_argument("--folder", default="")
    arguments = parser.parse_args()
    folder = Path(arguments.folder) if arguments.folder else FOLDER
    try:
        path = scaffold(
            folder,
            arguments.name,
            target=arguments.target,
            features=arguments.features,
            engine=arguments.engine,
        )
    except ContractError as e:
        return _fail(f"{VARIABLES.get(e.field, e.field)} {e.problem}", os.EX_USAGE)
    except CatalogueError as e:
        return _fail(str(e), os.EX_USAGE)
    except OSError as e:
        return _fail(f"{folder} cannot be written: {e.strerror}", os.EX_CANTCREAT)
    print(NEXT.format(path=path, name=arguments.name))
    return os.EX_OK


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
