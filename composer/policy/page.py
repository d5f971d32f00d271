"""``docs/permissions.md``: what every account may do in the end, made from the Terraform files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from composer.policy.access import Access, Thing, access_of
from composer.policy.plan import PROJECT_NUMBER, Resource, root_module

REPOSITORY = Path(__file__).parents[2]
TERRAFORM = REPOSITORY / "composer" / "terraform"
EXAMPLE = TERRAFORM / "example.tfvars"
PAGE = REPOSITORY / "docs" / "permissions.md"
WRITE = "python -m composer.policy.page --write"
HEADER = f"""\
# Permissions

What each account may do in the end, for the names in `composer/terraform/example.tfvars`. Made from the Terraform files
by `{WRITE}`, compared by `make check`; do not edit. Of the predefined roles it
counts what [`roles.toml`](../composer/policy/roles.toml) lists: reading, writing, deleting, making, giving rights away.
A permission on the project holds for everything in it. What a deny policy takes away is left out of the tables, and
named below them.
"""
OTHERS = """\
## Others

Google's own agents, the pods' Kubernetes accounts, and the writer of the log export.

| Who | On | May |
|---|---|---|"""


def resources() -> list[Resource]:
    """What Terraform would make of the example."""
    return list(root_module(TERRAFORM, EXAMPLE).resources())


def render(found: Sequence[Resource]) -> str:
    """The page."""
    access = access_of(found)
    ours = {r["email"]: r.get("description") for r in found if r.type == "google_service_account"}
    lines = [HEADER]
    for email, description in ours.items():
        lines += [f"## `{email}`", "", f"{description}.", "", *_table(access, email), *_denied(access, email)]
    lines += [
        "## Others",
        "",
        "Google's own agents, the pods' Kubernetes accounts and the writer of the log export.",
        "",
    ]
    lines += ["| Who | On | May |", "|---|---|---|"]
    for member in access.members():
        if member not in ours:
            who = member.replace(PROJECT_NUMBER, "PROJECT_NUMBER")
            lines += [f"| `{who}` | {thing} | {_words(allowed)} |" for thing, allowed in _rows(access, member)]
    return "\n".join(lines) + "\n"


def _table(access: Access, member: str) -> list[str]:
    rows = [f"| {thing} | {_words(allowed)} |" for thing, allowed in _rows(access, member)]
    return ["| On | May |", "|---|---|", *rows, ""] if rows else ["Nothing is granted to it.", ""]


def _denied(access: Access, member: str) -> list[str]:
    denied = access.denied.get(member)
    return [f"Whatever is granted, never: {_words(denied)}.", ""] if denied else []


def _rows(access: Access, member: str) -> Iterator[tuple[Thing, frozenset[str]]]:
    for thing in sorted({g.thing for g in access.grants if g.member == member}, key=_project_first):
        here = [access.roles[g.role] for g in access.grants if (g.member, g.thing) == (member, thing)]
        granted = frozenset().union(*here)
        yield thing, granted - access.denied.get(member, frozenset())


def _project_first(thing: Thing) -> tuple[bool, Thing]:
    return thing.kind != "project", thing


def _words(permissions: frozenset[str]) -> str:
    return ", ".join(f"`{p}`" for p in sorted(permissions)) or "nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or say that it is not what the Terraform files come to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    wanted = render(resources())
    if parser.parse_args(arguments).write:
        PAGE.write_text(wanted)
        return 0
    if not PAGE.exists() or PAGE.read_text() != wanted:
        name = PAGE.relative_to(REPOSITORY)
        print(f"error: {name} is not what composer/terraform comes to; run {WRITE}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
