"""Whether Composer could install ``requirements.txt``: one line in conflict with the image fails the whole update."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from composer.deploy.gcloud import DeployError

#: ``name==1.2`` as pip freezes it, or the two columns of ``gcloud beta composer environments list-packages``.
SHIPPED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:==|\s+)([0-9][^\s#]*)")
IMAGE = re.compile(r"composer-3-airflow-\S+?(?=[)\s,]|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """What an image ships: versions by name. ``image`` is the image's version, "" where the list does not say."""

    versions: Mapping[str, str]
    image: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """A requirement that the image cannot meet."""

    line: str
    problem: str
    fix: str

    def told(self) -> str:
        """In one line."""
        return f"{self.line}: {self.problem}; {self.fix}"


def read_shipped(text: str) -> Shipped:
    """The list of an image's packages."""
    found = dict[str, str]()
    for line in text.splitlines():
        if match := SHIPPED.match(line.strip()):
            found[canonicalize_name(match[1])] = match[2]
    named = IMAGE.search(text)
    return Shipped(versions=found, image=named[0] if named else "")


def read_requirements(text: str) -> list[Requirement]:
    """The lines of a requirements file.

    Raises:
        DeployError: naming a line that is none, or that Composer does not take.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        try:
            requirement = Requirement(content)
        except InvalidRequirement as e:
            raise DeployError(f"requirements.txt, line {number}: {content!r} is no requirement ({e})") from e
        if requirement.url:
            message = f"requirements.txt, line {number}: Composer takes no address; publish {requirement.name} instead"
            raise DeployError(message)
        found.append(requirement)
    return found


def conflicts(requirements: Sequence[Requirement], shipped: Shipped, own: str, version: str) -> list[Conflict]:
    """What of ``requirements`` cannot be on an image that ships ``shipped``; ``own`` is released as ``version``."""
    found, seen = [], dict[str, str]()
    for requirement in requirements:
        name, line = canonicalize_name(requirement.name), str(requirement)
        if name in seen:
            fix = f"keep one of them; `{seen[name]}` is there, too"
            found.append(Conflict(line=line, problem="the package is named twice", fix=fix))
        seen[name] = line
        has = version if name == canonicalize_name(own) else shipped.versions.get(name, "")
        if not has or _meets(requirement, has):
            continue
        if name == canonicalize_name(own):
            problem, fix = f"pyproject.toml has version {has}", "run `make lock`"
        elif name == "apache-airflow":
            problem, fix = f"the image is Airflow {has}", "leave the line out, Airflow is the image's"
        else:
            problem = f"the image ships {requirement.name} {has}"
            fix = f"pin {requirement.name}=={has} in requirements/composer-image.txt and run `make lock`"
        found.append(Conflict(line=line, problem=problem, fix=fix))
    return found


def require_no_conflict(found: Sequence[Conflict], image: str) -> None:
    """Refuse what Composer would refuse later, after half an hour.

    Raises:
        DeployError: naming each package, the versions and the fix.
    """
    if found:
        lines = "\n".join(f"  {conflict.told()}" for conflict in found)
        named = f" of {image}" if image else ""
        raise DeployError(f"requirements.txt conflicts with the packages{named}; nothing was touched:\n{lines}")


def _meets(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion as e:
        message = f"the image's list has {requirement.name} {version!r}, which is no version"
        raise DeployError(message) from e
