"""Versions and aliases of models below one URI.

``<model_type>/<version>/`` holds a booster and its card, each created once. An alias is a log of events,
``<model_type>/aliases/champion/000001.json`` and so on: the newest event says which version it means. Event n+1 is
created, never replaced, by who has read event n. So of two writers one fails, on every store, and nothing is forgotten.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from f1_training.core.numbered import NumberedLog
from f1_training.core.storage import open_store, storage_errors
from f1_training.registry.card import CARD, ModelCard
from f1_training.registry.retirement import retirable
from trainer.contract import FailureReason, ObjectExistsError, ObjectStore, TrainingFailure
from trainer.contract.fields import Document, require
from trainer.contract.objects import sha256

log = logging.getLogger(__name__)

CHAMPION = "champion"
ALIASES = "aliases"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasEvent(Document):
    """The alias meant ``previous_version`` ("" for none) and now means ``model_version``; who and why."""

    KIND: ClassVar[str] = "alias-event"

    alias: str
    model_type: str
    number: int
    model_version: str
    previous_version: str
    run_id: str
    reason: str
    at: str

    def __post_init__(self) -> None:
        require(self.number >= 1, "number", f"is {self.number}; 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredModel:
    """One version: where its booster is, and its card."""

    model_type: str
    version: str
    model_uri: str
    card: ModelCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Who moves an alias by hand, why, and when (RFC 3339, UTC); ``run_id`` is the DAG run's."""

    who: str
    reason: str
    at: str
    run_id: str = ""


class Registry:
    """The registry below ``uri``."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store: ObjectStore = open_store(uri)

    def register(self, card: ModelCard, booster: bytes) -> RegisteredModel:
        """Write a version: the booster, then its card. The same version again changes nothing.

        Raises:
            TrainingFailure: ``Bug`` when the version exists with other content, or the booster is not the card's.
        """
        folder = _folder(card.model_type, card.model_version)
        if sha256(booster) != card.sha256:
            message = f"the booster of {folder} is not the one that its card names"
            raise TrainingFailure(FailureReason.BUG, message)
        self._create(f"{folder}/{card.booster}", booster)
        try:
            self._create(f"{folder}/{CARD}", card.to_json().encode())
        except TrainingFailure:
            # The same bytes, trained by a cleared task once more: the first card tells how they came about.
            first = self.model(card.model_type, card.model_version)
            if first.card.sha256 != card.sha256:
                raise
            return first
        return self._registered(card)

    def _create(self, name: str, data: bytes) -> None:
        uri = self._store.uri_of(name)
        with storage_errors(uri):
            try:
                new = self._store.create(name, data)
            except ObjectExistsError as e:
                message = f"{uri} exists with other content; a version never changes, so start a new run"
                raise TrainingFailure(FailureReason.BUG, message) from e
        log.info("%s %s", uri, "is written" if new else "was there already")

    def attach(self, card: ModelCard, name: str, data: bytes, content_type: str) -> str:
        """Put a page beside a version, which it does not belong to: made again, it replaces the first. Its URI.

        Raises:
            TrainingFailure: what the storage refused.
        """
        path = f"{_folder(card.model_type, card.model_version)}/{name}"
        uri = self._store.uri_of(path)
        with storage_errors(uri):
            self._store.put(path, data, content_type)
        return uri

    def versions(self, model_type: str) -> list[str]:
        """All versions of a model, oldest first."""
        with storage_errors(self._uri):
            names = self._store.list(_folder(model_type))
        parts = (name.split("/") for name in names)
        return sorted(p[1] for p in parts if len(p) == 3 and p[2] == CARD)

    def model(self, model_type: str, version: str) -> RegisteredModel:
        """One version.

        Raises:
            TrainingFailure: ``ConfigInvalid`` when there is none; the message lists those that are.
        """
        name = f"{_folder(model_type, version)}/{CARD}"
        with storage_errors(self._store.uri_of(name)):
            try:
                return self._registered(ModelCard.from_json(self._store.read(name)))
            except FileNotFoundError as e:
                known = ", ".join(self.versions(model_type)) or "none"
                message = f"{self._store.uri_of(name)} is not there; versions of {model_type}: {known}"
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e

    def champion(self, model_type: str) -> RegisteredModel | None:
        """The version that serves, or None when there never was one."""
        event = self.alias(model_type)
        return self.model(model_type, event.model_version) if event else None

    def alias(self, model_type: str, alias: str = CHAMPION) -> AliasEvent | None:
        """The alias' newest event."""
        return self._log(model_type, alias).newest()

    def history(self, model_type: str, alias: str = CHAMPION) -> list[AliasEvent]:
        """All events of an alias, oldest first."""
        return self._log(model_type, alias).history()

    def promote(
        self, card: ModelCard, reason: str, at: str, still_wanted: Callable[[AliasEvent | None], bool] | None = None
    ) -> AliasEvent | None:
        """Let the alias ``champion`` mean the card's version.

        Args:
            card: of the version.
            reason: why, for the history.
            at: when, RFC 3339 in UTC.
            still_wanted: asked with the newest event before each try, also after another writer came first; the
                default says yes to everything.

        Returns:
            The event by which it means the version; None when that is not wanted any more.

        Raises:
            TrainingFailure: ``NetworkTimeout`` when others keep coming first.
        """

        def make(newest: AliasEvent | None) -> AliasEvent | None:
            if newest is not None and newest.model_version == card.model_version:
                return newest
            if still_wanted is not None and not still_wanted(newest):
                return None
            return AliasEvent(
                alias=CHAMPION,
                model_type=card.model_type,
                number=newest.number + 1 if newest else 1,
                model_version=card.model_version,
                previous_version=newest.model_version if newest else "",
                run_id=card.run_id,
                reason=reason,
                at=at,
            )

        return self._log(card.model_type, CHAMPION).append(make)

    def predecessor(self, model_type: str) -> str:
        """The version that the champion replaced when it was promoted; "" when there was none.

        A rollback is no promotion: after one, this is the version before that, not the one that was rolled back.
        """
        events = self.history(model_type)
        if not events:
            return ""
        first = next(event for event in events if event.model_version == events[-1].model_version)
        return first.previous_version

    def roll_back(self, model_type: str, version: str, change: Change) -> AliasEvent:
        """Let the alias ``champion`` mean ``version`` again, or with "" the champion's predecessor.

        Raises:
            TrainingFailure: ``ConfigInvalid`` when there is no such version, or nothing to go back to;
                ``NetworkTimeout`` when others keep changing the alias.
        """
        target = version or self.predecessor(model_type)
        if not target:
            message = f"{model_type} has no champion that replaced another; name the version to go back to"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        self.model(model_type, target)  # which refuses a version that is not there

        def make(newest: AliasEvent | None) -> AliasEvent:
            if newest is not None and newest.model_version == target:
                return newest
            return AliasEvent(
                alias=CHAMPION,
                model_type=model_type,
                number=newest.number + 1 if newest else 1,
                model_version=target,
                previous_version=newest.model_version if newest else "",
                run_id=change.run_id,
                reason=f"rolled back by {change.who}: {change.reason}",
                at=change.at,
            )

        event = self._log(model_type, CHAMPION).append(make)
        assert event is not None
        return event

    def retire(
        self,
        model_type: str,
        now: datetime,
        *,
        days: int,
        keep: int,
        release: Callable[[str], str] = lambda _version: "",
    ) -> list[str]:
        """Remove versions older than ``days``, but never the champion, its predecessor or the ``keep`` newest.

        Returns the versions that are gone. For Airflow's account only, as all deleting is.

        Args:
            model_type: whose versions.
            now: aware.
            days: how old they may become.
            keep: how many stay whatever their age.
            release: takes a version from wherever else it is, before it is removed here; returns why it stays, or "".

        Raises:
            TrainingFailure: what the storage, or ``release``, refused; what was removed until then is not needed, and
                every other version is whole.
        """
        events = self.history(model_type)
        needed = [events[-1].model_version, self.predecessor(model_type)] if events else []
        gone = []
        for version in retirable(self.versions(model_type), needed, now, days=days, keep=keep):
            if why := release(version):
                log.info("%s %s stays: %s", model_type, version, why)
                continue
            folder = _folder(model_type, version)
            with storage_errors(self._store.uri_of(folder)):
                # The card first: without it the version does not exist, whatever is left of it.
                names = sorted(self._store.list(folder), key=lambda name: not name.endswith(f"/{CARD}"))
                for name in names:
                    self._store.delete(name)
            gone.append(version)
            log.info("%s %s is retired", model_type, version)
        return gone

    def _log(self, model_type: str, alias: str) -> NumberedLog[AliasEvent]:
        return NumberedLog(store=self._store, folder=f"{_folder(model_type)}/{ALIASES}/{alias}", kind=AliasEvent)

    def _registered(self, card: ModelCard) -> RegisteredModel:
        uri = self._store.uri_of(f"{_folder(card.model_type, card.model_version)}/{card.booster}")
        return RegisteredModel(model_type=card.model_type, version=card.model_version, model_uri=uri, card=card)


def _folder(*names: str) -> str:
    for name in names:
        require(bool(NAME.fullmatch(name)) and name != ALIASES, "name", f"{name!r} cannot name a folder")
    return "/".join(names)
