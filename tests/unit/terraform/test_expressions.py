"""Terraform's language, as far as our files use it; the rest is refused."""

import re
from pathlib import Path
from typing import Any

import pytest

from composer.policy.expressions import ExpressionError, expression
from composer.policy.functions import functions_of
from composer.policy.plan import Module

NAMES = {"var": {"name": "f1", "count": 3, "zones": ["a", "b"], "ranges": {"pods": "10.0.0.0/8"}}}


def value(source: str) -> Any:
    return expression(source, functions_of(Path()))(NAMES.__getitem__)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("(1 + 2) * 3 % 4", 1),
        ("-var.count < 0 && !false || null == 1", True),
        ('var.count >= 3 ? "many" : "few"', "many"),
        ('"${var.name}-${var.count}-${true}"', "f1-3-true"),
        ('"${var.zones}"', ["a", "b"]),
        ('"a \\"quoted\\" $${literal}\\n"', 'a "quoted" ${literal}\n'),
        ('var.ranges["pods"]', "10.0.0.0/8"),
        ("var.zones[1]", "b"),
        ('[for zone in var.zones : upper(zone) if zone != "a"]', ["B"]),
        ("[for i, zone in var.zones : i]", [0, 1]),
        ('{ for name, range in var.ranges : "x-${name}" => range }', {"x-pods": "10.0.0.0/8"}),
        ('{ a = 1, (var.name) = 2, "b" : [3,] }', {"a": 1, "f1": 2, "b": [3]}),
        ("merge([{ a = 1 }, { a = 2, b = 3 }]...)", {"a": 2, "b": 3}),
        ("flatten([[1, [2]], [], 3])", [1, 2, 3]),
        ("sum(concat([0], slice([4, 5, 6], 0, 2))) + ceil(3 / 2)", 11),
        ('can(regex("^f", var.name))', True),
        ('can(regex("^g", var.name))', False),
        ('can(var.ranges["services"])', False),
    ],
)
def test_expressions_are_what_terraform_makes_of_them(source: str, wanted: Any) -> None:
    assert value(source) == wanted


def test_only_the_side_that_is_taken_is_evaluated() -> None:
    assert value("true ? 1 : var.zones[7]") == 1


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("cidrsubnet(var.ranges, 8, 1)", "function 'cidrsubnet' is not known here"),
        ("var.zones[*].id", "'*' begins no expression"),
        ("1 +", "'the end' instead of 'more'"),
        ("1 2", "'2' is left over"),
        ('"unended', "the string does not end"),
        ("a ~ b", "unknown character"),
        ('"${var.zones}x"', "has no place in a string"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_text(source: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(problem)):
        value(source)


def module(folder: Path, text: str, **inputs: Any) -> Module:
    (folder / "main.tf").write_text(text)
    return Module(folder, inputs, folder)


def test_repeated_resources_and_blocks_are_counted_out(tmp_path: Path) -> None:
    text = """
    resource "thing" "none" {
      count = 0
    }
    resource "thing" "of" {
      for_each = toset(["b", "a"])
      name     = each.key
      left_out = null
      dynamic "block" {
        for_each = each.key == "a" ? [1, 2] : []
        content {
          number = block.value
        }
      }
    }
    """
    made = {r.address: r.arguments for r in module(tmp_path, text).resources()}
    assert made == {
        'thing.of["a"]': {"name": "a", "block": [{"number": 1}, {"number": 2}]},
        'thing.of["b"]': {"name": "b"},
    }


def test_what_only_google_knows_reads_as_its_address(tmp_path: Path) -> None:
    text = """
    resource "network" "main" {
      name = "n"
    }
    resource "subnet" "of" {
      network = network.main.id
      note    = "in ${network.main.name}"
    }
    """
    (subnet,) = [r for r in module(tmp_path, text).resources() if r.type == "subnet"]
    assert subnet.arguments == {"network": "network.main.id", "note": "in n"}


def test_a_name_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match="root: 'nework' is not known"):
        list(module(tmp_path, 'resource "subnet" "of" {\n  network = nework.main.id\n}\n').resources())


def test_a_variable_without_a_value_is_refused(tmp_path: Path) -> None:
    text = 'variable "region" {\n  type = string\n}\n'
    with pytest.raises(ExpressionError, match=r"var\.region is not given"):
        module(tmp_path, text).check()
    module(tmp_path, text, region="europe-west4").check()
