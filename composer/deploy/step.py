"""What a step of a deployment is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from composer.deploy.deployment import Deployment


class Step(Protocol):
    """One step. ``touches`` says whether the environment is another one afterwards."""

    name: ClassVar[str]
    touches: ClassVar[bool]

    def told(self, d: Deployment) -> Sequence[str]:
        """What it does, a line each; without asking anybody."""

    def done(self, d: Deployment, *, changed: bool) -> str:
        """Why there is nothing to do, or ""; ``changed`` says whether an earlier step has touched the environment."""

    def do(self, d: Deployment) -> None:
        """Do it."""
