"""The plan of a deployment: printed, carried out, and undone when what was deployed does not train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from composer.deploy.artifacts import BuildImages, BuildWheel, PublishWheel
from composer.deploy.deployment import Deployed, Deployment, State
from composer.deploy.environment import (
    InstallPackages,
    PointPip,
    SetVariable,
    SyncDags,
    Verify,
    install,
    sync,
    write_variable,
)
from composer.deploy.gcloud import DeployError
from composer.deploy.requirements import Shipped, conflicts, read_requirements, read_shipped, require_no_conflict
from composer.deploy.step import Step
from composer.local.airflow_api import AirflowApiError
from composer.preflight import PreflightError

STEPS: Sequence[Step] = (
    BuildWheel(),
    BuildImages(),
    PublishWheel(),
    PointPip(),
    InstallPackages(),
    SyncDags(),
    SetVariable(),
    Verify(),
)
#: What a step may end with; whatever else is a bug, and ends the program where it stands.
FAILURES = (DeployError, AirflowApiError, PreflightError, TimeoutError)


class RolledBackError(DeployError):
    """A step failed, and the environment is what it was before."""


def check(d: Deployment, packages: Path | None) -> Shipped:
    """Refuse requirements that the image cannot meet, before anything is touched or asked.

    Raises:
        DeployError: naming each conflict.
    """
    text = packages.read_text(encoding="utf-8") if packages else d.revision.text("requirements/composer-image.txt")
    shipped = read_shipped(text)
    wanted = read_requirements(d.revision.requirements)
    require_no_conflict(conflicts(wanted, shipped, d.revision.package, d.revision.version), shipped.image)
    return shipped


def told(d: Deployment, shipped: Shipped, steps: Sequence[Step] = STEPS) -> list[str]:
    """The plan, a line each."""
    r, t = d.revision, d.target
    lines = [
        f"{r.package} {r.version}, commit {r.sha}",
        f"to the environment {t.environment} in {t.project}, {t.region}",
        f"requirements.txt fits the {len(shipped.versions)} packages recorded of {shipped.image or 'the image'}",
    ]
    if r.dirty:
        lines.append("what is not committed is not deployed")
    for number, step in enumerate(steps, 1):
        lines += [f"{number}. {step.name}", *(f"     {line}" for line in step.told(d))]
    undo = "the Variable, the DAGs and the packages are set back to what they were"
    return [*lines, f"If a step from {first_touching(steps)} on fails, {undo}."]


def first_touching(steps: Sequence[Step]) -> int:
    """The number of the first step after which the environment is another one."""
    return next(number for number, step in enumerate(steps, 1) if step.touches)


def apply(d: Deployment, shipped: Shipped, steps: Sequence[Step] = STEPS) -> bool:
    """Carry the plan out. Whether the environment had to be touched.

    Raises:
        DeployError: a step failed; nothing of the environment was touched yet.
        RolledBackError: a step failed, and what was touched is as it was before.
    """
    _require_same_image(d, shipped)
    d.wanted_settings(d.variable())  # which refuses what no pod could be started with
    begun = False
    for number, step in enumerate(steps, 1):
        try:
            why = step.done(d, changed=begun)
            d.say(f"{number}. {step.name}{f': {why}' if why else ''}")
            if why:
                continue
            if step.touches and not begun:
                _begin(d)
                begun = True
            step.do(d)
        except FAILURES as e:
            if not begun:
                raise
            d.say(f"failed: {e}")
            d.say("setting the environment back")
            roll_back(d)
            raise RolledBackError(f"{step.name}: {e}\nthe environment is what it was before") from e
    if begun:
        state = d.state()
        d.keep(State(previous=state.previous, current=_deployed(d, d.revision.sha, "", verified=True)))
    return begun


def roll_back(d: Deployment) -> None:
    """Restore what the state has as the previous deployment. What is as it was already is left alone.

    Raises:
        DeployError: there is nothing to go back to, or a step of the way back failed; run it again.
    """
    before = d.state().previous
    if before is None:
        raise DeployError("nothing is known of an earlier deployment: there is nothing to go back to")
    problems = []
    # The Variable last: it takes an Airflow that runs, which the packages may have kept from running.
    for part in (_restore_dags, _restore_packages, _restore_variable):
        try:
            part(d, before)
        except FAILURES as e:
            problems.append(str(e))
    if problems:
        raise DeployError("the way back failed, go it again with ROLLBACK=1: " + "; ".join(problems))
    d.keep(State(current=before))


def _restore_dags(d: Deployment, before: Deployed) -> None:
    if before.dags_uri:
        d.programs.change(sync(before.dags_uri, d.dags_uri))
    elif d.remote_dags():
        d.programs.change(["gcloud", "storage", "rm", "--recursive", d.dags_uri])


def _restore_packages(d: Deployment, before: Deployed) -> None:
    if d.packages(again=True) != dict(before.packages):
        install(d, dict(before.packages))


def _restore_variable(d: Deployment, before: Deployed) -> None:
    if before.variable and d.variable() != before.variable:
        write_variable(d, before.variable, exists=True)


def _require_same_image(d: Deployment, shipped: Shipped) -> None:
    if shipped.image and d.image_version != shipped.image:
        raise DeployError(
            f"the environment runs {d.image_version}, and the packages recorded are those of {shipped.image}: give its "
            "own with --packages FILE (`gcloud beta composer environments list-packages`)"
        )


def _begin(d: Deployment) -> None:
    """Write down what the environment has, so that it can be set back: unless an earlier try, cut off, has."""
    state = d.state()
    if state.wanted:
        d.say(f"  going on where the deployment of {state.wanted[:12]} was cut off")
        d.keep(replace(state, wanted=d.revision.sha))
        return
    current = state.current
    revision = current.revision if current is not None else ""
    copy = ""
    if d.remote_dags():
        copy = f"{d.folder_uri()}/dags/{revision or 'before'}"
        d.programs.change(sync(d.dags_uri, copy))
    before = _deployed(d, revision, copy, verified=current is not None and current.verified)
    d.keep(State(previous=before, current=current, wanted=d.revision.sha))


def _deployed(d: Deployment, revision: str, dags_uri: str, *, verified: bool) -> Deployed:
    return Deployed(
        revision=revision,
        packages=d.packages(again=True),
        variable=d.variable(),
        dags_uri=dags_uri,
        verified=verified,
    )
