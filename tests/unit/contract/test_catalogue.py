"""A bad catalogue file is refused by file, field and reason, and breaks no other model."""

import re
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from trainer.contract import Catalogue, CatalogueError, ContractError, Engine, ModelEntry, Schedule, read_catalogue
from trainer.contract.catalogue import FOLDER, GatesEntry, check_workers, device_for, read_entry, with_engine

GOOD = (FOLDER / "tire_degradation.toml").read_text()
#: The same file before anybody knew what a run costs.
UNPRICED = re.sub(r"^\[cost\]\n.*?\n\n", "", GOOD, flags=re.DOTALL | re.MULTILINE)


def write(folder: Path, text: str, name: str = "tire_degradation") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def with_line(line: str) -> str:
    """The good file with one more field at its top."""
    return GOOD.replace("schema = 1\n", f"schema = 1\n{line}\n", 1)


def test_every_file_of_the_package_reads() -> None:
    catalogue = read_catalogue()
    assert catalogue.problems == {}
    assert "tire_degradation" in catalogue.entries


#: What is replaced in a good file, by what, and what is said of it; the schema refuses all of these, too.
BROKEN = [
    ("schema = 1", "schema = 2", "schema: is 2; this package reads schema 1"),
    ("schema = 1", "schema = true", "schema: is True; this package reads schema 1"),
    ("schema = 1", "", "schema: is missing; this package reads schema = 1"),
    ('engine = "xgboost"', 'engine = "catboost"', "engine: is 'catboost'; one of xgboost, lightgbm"),
    ('schedule = "weekly"', 'schedule = "daily"', "schedule: is 'daily'; one of weekly, on_demand"),
    ("rounds = 800", "runds = 800", "runds: is unknown; known are baseline, "),
    ("rounds = 800", "", "rounds: is missing"),
    ("rounds = 800", "rounds = 0", "rounds: is 0; 1 to 100000"),
    ("rounds = 800", 'rounds = "800"', "rounds: must be int, is '800'"),
    ("rounds = 800", "rounds = true", "rounds: must be int, is True"),
    ('owner = "race-strategy"', "owner = 3", "owner: must be str, is 3"),
    ('owner = "race-strategy"', 'owner = " "', "owner: is empty"),
    (
        'metric = "mae"',
        'metric = "log_loss"',
        "metric: 'log_loss' does not fit objective 'absolute_error'; mae or rmse",
    ),
    ('"stint",', '"stint", "stint",', "features: names stint twice"),
    ('"stint",', "7,", "features[1]: must be str, is 7"),
    ('"stint",', '"st-int",', "features[1]: is 'st-int'; a column name"),
    ('keys = ["race_id", "driver_id", "lap_number"]', "keys = []", "keys: is empty"),
    ('keys = ["race_id", "driver_id", "lap_number"]', 'keys = "race_id"', "keys: must be a list, is 'race_id'"),
    ('target = "lap_delta_ms"', 'target = "lap delta"', "target: is 'lap delta'; a column name"),
    ('unit = "ms"', 'unit = "ms"\nclasses = 3', "classes: is 3 for objective absolute_error; 0"),
    (
        'unit = "ms"',
        'unit = "ms"\nclass_names = ["a", "b"]',
        "class_names: are for the objective multiclass, not absolute",
    ),
    ('objective = "absolute_error"', 'objective = "multiclass"', "classes: is 0 for objective multiclass; 2 or more"),
    ("[params.xgboost]", "[params.catboost]", "params.catboost: is unknown; one of xgboost, lightgbm"),
    ("max_depth = 6", "max_depth = [6]", "params.xgboost.max_depth: must be str or int or float or bool, is [6]"),
    ("[splits]", "[split]", "split: is unknown"),
    ('train = "train"', 'train = "a b"', "splits.train: is 'a b'; a column name"),
    ("min_rows = 1000", "min_rows = 0", "checks.min_rows: is 0; 1 or more"),
    ("min_completeness = 0.95", "min_completeness = 1.5", "checks.min_completeness: is 1.5; 0 to 1"),
    ('tier = "medium"', 'tier = "huge"', "resources.tier: is 'huge'; one of small, medium, large, highmem"),
    ('memory = "24Gi"', 'memory = "much"', "resources.memory: is 'much'; a Kubernetes quantity such as 500m or 24Gi"),
    ('memory = "24Gi"', "", "resources.memory: is missing"),
    ("\nbasis = ", "\n# basis = ", "cost.basis: is missing"),
    ("usd_per_run = 0.50", "usd_per_run = -1", "cost.usd_per_run: is -1.0; 0 or more"),
    ("[splits]", "[splits]\nholdout = 1", "splits.holdout: is unknown; known are test, train, validation"),
]
#: What no schema can know.
WRONG = [
    ('model_type = "tire_degradation"', 'model_type = "other"', "model_type: is 'other' in a file named tire_"),
    ('"stint",', '"lap_delta_ms",', "features: holds the target 'lap_delta_ms': that is leakage"),
    ("baseline = 0.0", "baseline = nan", "baseline: is nan; a finite number"),
    ("learning_rate = 0.02", "learning_rate = inf", "params.xgboost.learning_rate: is inf; a finite number"),
    ("min_rows = 1000", 'sparse = ["nope"]', "checks.sparse: names nope, which are no features"),
    (
        'tier = "medium"',
        'tier = "small"\nmachine_type = "n1-standard-8"',
        "resources.tier: is 'small', an n1-standard-4, but",
    ),
    ('tier = "medium"', 'machine_type = "n1-standard-7"', "resources.machine_type: is 'n1-standard-7'; one of n1-"),
    ('tier = "medium"', 'tier = "small"', "resources.cpu: is 6; of an n1-standard-4 a pod can have 3"),
    ('cpu = "1"', 'cpu = "4"\ntier = "small"', "chief_resources.cpu: is 4; of an n1-standard-4 a pod can have 3"),
    ("schema = 1", "schema = 1 =", "is no TOML: Expected newline or end of document after a statement (at line "),
    ("rounds = 800", "rounds = 800\nrounds = 9", "is no TOML: Cannot overwrite a value (at line "),
    ('feature = "fuel_fraction"', 'feature = "fuel"', "curves[1]: names 'fuel', which is no feature"),
    ('SOFT = "compound_soft"', 'SOFT = "soft"', "curves[0]: names 'soft', which is no feature"),
    ("low = 1\n", "low = 40\n", "curves[0].high: is 35.0; more than low, 40.0"),
    ('name = "season"', 'name = "circuit"', "breakdown: has two of one name"),
    (
        "beats_baseline = true",
        "most = { tset_mae = 1 }",
        "gates.most.tset_mae: is no metric of the evaluation: test_mae",
    ),
    ("beats_baseline = true", "least = { accuracy = 1 }", "gates.least.accuracy: is no metric"),
]


@pytest.mark.parametrize(("old", "new", "message"), [*BROKEN, *WRONG], ids=lambda text: text[:40])
def test_a_bad_file_is_named_with_field_and_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(CatalogueError) as caught:
        read_entry(write(tmp_path, GOOD.replace(old, new, 1)))
    assert str(caught.value).startswith(f"tire_degradation.toml: {message}")


def test_what_is_no_text_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'owner = "\xe9"')
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "folder.toml").mkdir()
    write(tmp_path, GOOD)
    catalogue = read_catalogue(tmp_path)
    assert list(catalogue.entries) == ["tire_degradation"]
    assert {name: text.partition(":")[0] for name, text in catalogue.problems.items()} == {
        name: f"{name}.toml" for name in ("deep", "folder", "latin")
    }


def test_a_model_cannot_have_the_name_of_all_of_them(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace('"tire_degradation"', '"all"', 1), "all")
    with pytest.raises(CatalogueError, match=r"all\.toml: model_type: is 'all', which means every model"):
        read_entry(path)


def test_an_entry_of_before_there_were_gates_and_curves_is_complete(tmp_path: Path) -> None:
    start, end = GOOD.index("# What a set costs"), GOOD.index("[splits]")
    path = tmp_path / "tire_degradation.toml"
    path.write_text(GOOD[:start] + GOOD[end:])
    entry = read_entry(path)
    assert (entry.curves, entry.breakdown, entry.gates) == ((), (), GatesEntry())


def test_one_bad_file_breaks_no_other_model(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, "nonsense\nx = 1", "broken")
    catalogue = read_catalogue(tmp_path)
    assert catalogue.entry("tire_degradation").engine is Engine.XGBOOST
    assert catalogue.weekly() == [catalogue.entry("tire_degradation")]
    assert catalogue.names == ["tire_degradation", "broken"]
    with pytest.raises(CatalogueError, match=r"^'broken' cannot be trained: broken\.toml: is no TOML: .*line 1"):
        catalogue.entry("broken")
    with pytest.raises(CatalogueError, match=r"^unknown model type 'nope'; the catalogue has: tire_degradation$"):
        catalogue.entry("nope")


def test_what_may_be_left_out_has_a_default(tmp_path: Path) -> None:
    required = {"model_type", "description", "owner", "engine", "objective", "metric", "target", "features", "eligible"}
    required |= {"group", "keys", "rounds", "resources", "chief_resources"}
    found = {field.name for field in fields(ModelEntry) if field.default is field.default_factory is MISSING}
    assert found == required
    entry = read_entry(write(tmp_path, UNPRICED))
    assert (entry.schedule, entry.cost, entry.class_names, entry.simulated_target) == (Schedule.WEEKLY, None, (), "")


def test_only_weekly_models_are_trained_by_every_run(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    rare = GOOD.replace('schedule = "weekly"', 'schedule = "on_demand"')
    write(tmp_path, rare.replace('"tire_degradation"', '"rare"', 1), "rare")
    catalogue = read_catalogue(tmp_path)
    assert [entry.model_type for entry in catalogue.weekly()] == ["tire_degradation"]
    assert catalogue.entry("rare").schedule is Schedule.ON_DEMAND


def test_a_catalogue_without_weekly_models_says_why() -> None:
    entry = replace(read_catalogue().entry("tire_degradation"), schedule=Schedule.ON_DEMAND)
    for catalogue, why in (
        (Catalogue(entries={}), "the catalogue is empty"),
        (Catalogue(entries={}, problems={"x": "x.toml: rounds: is missing"}), r"x\.toml: rounds: is missing"),
        (Catalogue(entries={"tire_degradation": entry}), "tire_degradation is trained on demand"),
    ):
        with pytest.raises(CatalogueError, match=f"no model is trained weekly: {why}"):
            catalogue.weekly()


def multiclass(tmp_path: Path, line: str) -> ModelEntry:
    text = with_line(line).replace('"absolute_error"', '"multiclass"').replace('"mae"', '"multi_log_loss"')
    return read_entry(write(tmp_path, text))


def test_the_number_of_classes_follows_from_their_names(tmp_path: Path) -> None:
    names = 'class_names = ["calm", "mixed", "hard"]'
    for line in (names, f"{names}\nclasses = 3"):
        entry = multiclass(tmp_path, line)
        assert (entry.classes, entry.class_names) == (3, ("calm", "mixed", "hard"))
    assert multiclass(tmp_path, "classes = 4").class_names == ()
    for line, said in (
        (f"{names}\nclasses = 4", "class_names: names 3 classes, but classes is 4"),
        ('class_names = ["a", "a"]', "class_names: names a twice"),
        ('class_names = ["a"]', "classes: is 1 for objective multiclass; 2 or more"),
    ):
        with pytest.raises(CatalogueError, match=said):
            multiclass(tmp_path, line)


def test_what_is_said_of_cost_and_target_is_kept(tmp_path: Path) -> None:
    said = 'schema = 1\nsimulated_target = "grip falls with heat"\n'
    text = UNPRICED.replace("schema = 1\n", said, 1) + '[cost]\nusd_per_run = 2\nbasis = "4 nodes, 1 h"\n'
    entry = read_entry(write(tmp_path, text))
    assert entry.simulated_target == "grip falls with heat"
    assert entry.cost is not None
    assert (entry.cost.usd_per_run, entry.cost.basis) == (2.0, "4 nodes, 1 h")


def test_choices_of_a_person_are_checked() -> None:
    entry = read_catalogue().entry("tire_degradation")
    assert with_engine(entry, "lightgbm").engine is Engine.LIGHTGBM
    assert with_engine(entry, None) is entry
    assert device_for(Engine.XGBOOST, "GPU") == "cuda"
    assert device_for(Engine.LIGHTGBM, "gpu") == "gpu"
    for call in (
        lambda: with_engine(entry, "catboost"),
        lambda: device_for(Engine.XGBOOST, "tpu"),
        lambda: check_workers(entry, 0),
        lambda: check_workers(entry, 11),
    ):
        with pytest.raises(ContractError):
            call()
