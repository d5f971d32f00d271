"""LightGBM model files (text): normalised, so that equal trees are equal bytes, and put together. Pure.

The library writes into every model where and how it was trained (hosts, ports, threads, seeds); a document keeps only
what describes the trees. What is written here is byte for byte what the library itself writes after loading it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

#: A round in which no split was worth it. (The library's own has the rank's row count in it, or leaves the tree out.)
CONSTANT_TREE = """num_leaves=1
num_cat=0
split_feature=
split_gain=
threshold=
decision_type=
left_child=
right_child=
leaf_value=0
leaf_weight=0
leaf_count=0
internal_value=
internal_weight=
internal_count=
is_linear=0
shrinkage=1"""
#: Parameters that say where, on what and for how long a segment was trained, not what its trees are.
NOT_KEPT = frozenset(
    """data valid num_iterations num_threads seed data_random_seed bagging_seed feature_fraction_seed extra_seed
    drop_seed objective_seed machines num_machines local_listen_port machine_list_filename time_out tree_learner
    pre_partition device_type gpu_platform_id gpu_device_id gpu_device_id_list gpu_use_dp num_gpu verbosity metric
    early_stopping_round early_stopping_min_delta first_metric_only is_provide_training_metric histogram_pool_size
    parser_config_file""".split()
)
SPLITS = re.compile(rb"^num_leaves=(?!1$)", re.MULTILINE)
PARAMETER = re.compile(r"\[(?P<name>\w+): .*\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model file in parts: ``head`` has the lines before the trees, without ``tree_sizes``; ``trees`` are the texts
    of the trees without their number; ``parameters`` are lines such as ``[learning_rate: 0.1]``."""

    head: tuple[str, ...]
    trees: tuple[str, ...]
    parameters: tuple[str, ...] = field(default=())

    @property
    def trees_per_round(self) -> int:
        """One, or one a class."""
        return int(_value(self.head, "num_tree_per_iteration"))

    def text(self) -> str:
        """The model file."""
        blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(self.trees)]
        sizes = " ".join(str(len(block.encode())) for block in blocks)
        importances = "".join(f"{name}={count}\n" for name, count in self._importances())
        parameters = "".join(f"{line}\n" for line in self.parameters)
        return (
            "".join(f"{line}\n" for line in self.head)
            + f"tree_sizes={sizes}\n\n{''.join(blocks)}end of trees\n\nfeature_importances:\n{importances}\n"
            + f"parameters:\n{parameters}\nend of parameters\n\npandas_categorical:null\n"
        )

    def _importances(self) -> list[tuple[str, int]]:
        # How often a feature is split on, most often first; the library counts only splits that gain something.
        names = _value(self.head, "feature_names").split(" ")
        counts: Counter[int] = Counter()
        for tree in self.trees:
            lines = tree.split("\n")
            gains = _value(lines, "split_gain").split()
            used = zip(_value(lines, "split_feature").split(), gains, strict=True)
            counts.update(int(feature) for feature, gain in used if float(gain) > 0)
        return [(names[i], counts[i]) for i in sorted(counts, key=lambda i: (-counts[i], i))]


def parse(text: str) -> Model:
    """The parts of a model file.

    Raises:
        ValueError: ``text`` is no LightGBM model, or ends in the middle.
    """
    head, first, rest = text.partition("\nTree=0\n")
    body, end, tail = rest.partition("\nend of trees\n")
    if not text.startswith("tree\n") or not first or not end:
        raise ValueError("is no LightGBM model, or only the beginning of one")
    trees = re.split(r"\nTree=\d+\n", f"\n{body}")
    _, _, parameters = tail.partition("\nparameters:\n")
    kept = [line for line in parameters.partition("\nend of parameters")[0].split("\n") if PARAMETER.fullmatch(line)]
    return Model(
        head=tuple(line for line in head.split("\n") if line and not line.startswith("tree_sizes=")),
        trees=tuple(tree.strip("\n") for tree in trees),
        parameters=tuple(kept),
    )


def segment_document(text: str, *, trees_after_round: Sequence[int], base_scores: Sequence[float]) -> bytes:
    """The document of a segment from the model file that the library wrote.

    Args:
        text: the library's model.
        trees_after_round: number of trees after each round; a round that added none gets constant trees.
        base_scores: raw score of each class that boosting started from, for the first segment; empty for later ones.
            It becomes part of the first trees, where the library also puts its own average.
    """
    model = parse(text)
    per_round = model.trees_per_round
    trees: list[str] = []
    before = 0
    for after in trees_after_round:
        grown = model.trees[before:after]
        trees += [_normal(tree) for tree in grown] or [CONSTANT_TREE] * per_round
        before = max(before, after)
    for number, score in enumerate(base_scores):
        trees[number] = _shifted(trees[number], score)
    kept = tuple(line for line in model.parameters if line[1:].partition(":")[0] not in NOT_KEPT)
    return replace(model, trees=tuple(trees), parameters=kept).text().encode()


def is_constant(document: bytes) -> bool:
    """Whether no tree of ``document`` splits anything."""
    return SPLITS.search(document) is None


def assemble(documents: Sequence[bytes], *, rounds: int | None = None) -> bytes:
    """One model file with the trees of ``documents`` in order, cut to ``rounds`` boosting rounds.

    Raises:
        ValueError: there is nothing to put together, the documents are of different models, or have too few rounds.
    """
    if not documents:
        raise ValueError("there are no segments to put together")
    models = [parse(document.decode()) for document in documents]
    whole = models[0]
    for number, model in enumerate(models[1:], start=1):
        if _identity(model) != _identity(whole):
            raise ValueError(f"segment {number} has other features, classes or another objective than segment 0")
    trees = tuple(chain.from_iterable(model.trees for model in models))
    if rounds is not None:
        total = len(trees) // whole.trees_per_round
        if not 1 <= rounds <= total:
            raise ValueError(f"cannot cut a model of {total} rounds to {rounds}")
        trees = trees[: rounds * whole.trees_per_round]
    return replace(whole, trees=trees).text().encode()


def _identity(model: Model) -> tuple[str, ...]:
    # Ranges of features differ where another group of workers binned other rows.
    return tuple(line for line in model.head if not line.startswith("feature_infos="))


def _normal(tree: str) -> str:
    if "num_leaves=1" not in tree.split("\n"):
        return tree
    value = _value(tree.split("\n"), "leaf_value")
    return _with(CONSTANT_TREE, "leaf_value", value)


def _shifted(tree: str, score: float) -> str:
    """``tree`` with ``score`` added to what it predicts, as the library's own ``Tree::AddBias`` does it."""
    if score == 0.0:
        return tree
    lines = tree.split("\n")
    leaves = [float(v) + score for v in _value(lines, "leaf_value").split()]
    inner = [float(v) + score for v in _value(lines, "internal_value").split()]
    shifted = _with(tree, "leaf_value", " ".join(format(v, ".17g") for v in leaves))
    shifted = _with(shifted, "internal_value", " ".join(format(v, "g") for v in inner))
    return _with(shifted, "shrinkage", "1")


def _value(lines: Sequence[str], name: str) -> str:
    prefix = f"{name}="
    for line in lines:
        if line.startswith(prefix):
            return line[len(prefix) :]
    raise ValueError(f"the model has no {name}")


def _with(tree: str, name: str, value: str) -> str:
    return "\n".join(f"{name}={value}" if line.startswith(f"{name}=") else line for line in tree.split("\n"))
