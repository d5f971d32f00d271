"""Prices of machines and accelerators: those of ``prices.toml``, replaced by the deployment's own where it has them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources

from f1_training.core.costs import HourlyPrice
from trainer.contract.fields import decode


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """US dollars an hour by name; ``own`` are the names whose price is the deployment's."""

    as_of: str
    region: str
    bigquery_usd_per_tib: float
    machines: Mapping[str, HourlyPrice]
    accelerators: Mapping[str, HourlyPrice]
    own: tuple[str, ...] = ()

    def of(self, name: str) -> HourlyPrice | None:
        """The price of a machine type or an accelerator, None where it is not known."""
        return self.machines.get(name) or self.accelerators.get(name)

    def told(self) -> str:
        """Whose prices these are, for the end of an estimate."""
        listed = f"list prices of {self.region} as of {self.as_of}"
        return f"{listed}, own prices of {', '.join(self.own)}" if self.own else listed


def read_prices(own: Mapping[str, HourlyPrice] | None = None) -> Prices:
    """The prices of the package, with those of ``own`` in their place."""
    listed = _listed()
    if not own:
        return listed
    accelerators = {name: price for name, price in own.items() if name in listed.accelerators}
    machines = {name: price for name, price in own.items() if name not in accelerators}
    return replace(
        listed,
        machines={**listed.machines, **machines},
        accelerators={**listed.accelerators, **accelerators},
        own=tuple(sorted(own)),
    )


@functools.cache
def _listed() -> Prices:
    text = resources.files("f1_training.costs").joinpath("prices.toml").read_text(encoding="utf-8")
    return decode(Prices, tomllib.loads(text), "prices")
