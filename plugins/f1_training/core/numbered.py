"""A log of documents in a bucket, ``000001.json`` and so on: appended to by whoever has read the newest, never changed.

Creating the next number can succeed once only. That is compare-and-swap on every store, without generations, and the
history comes with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from f1_training.core.storage import storage_errors
from trainer.contract import ContractError, FailureReason, ObjectExistsError, ObjectStore, TrainingFailure

log = logging.getLogger(__name__)

#: Other writers may come first; that many in a row are a mistake.
WRITERS = 10


class Numbered(Protocol):
    """A document that knows its place in the log, from 1."""

    @property
    def number(self) -> int:
        """Its place."""

    def to_json(self) -> str:
        """As it is written."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """As it was written."""


E = TypeVar("E", bound=Numbered)


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberedLog(Generic[E]):
    """The log of ``kind`` documents in ``folder`` of ``store``."""

    store: ObjectStore
    folder: str
    kind: type[E]

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.store.uri_of(self.folder)

    def history(self) -> list[E]:
        """All of it, the oldest first.

        Raises:
            TrainingFailure: what the storage refused.
            ContractError: a document is none of this kind.
        """
        with storage_errors(self.uri):
            return [self._read(name) for name in self._names()]

    def newest(self) -> E | None:
        """The last document, None before the first.

        Raises:
            TrainingFailure: what the storage refused.
            ContractError: it is none of this kind.
        """
        with storage_errors(self.uri):
            names = self._names()
            return self._read(names[-1]) if names else None

    def append(self, make: Callable[[E | None], E | None]) -> E | None:
        """Write what ``make`` makes of the newest document; asked again when another writer came first.

        Returns the document: the newest itself where ``make`` returns that, None where it wants none.

        Raises:
            TrainingFailure: ``NetworkTimeout`` when others keep coming first; what the storage refused.
        """
        for _ in range(WRITERS):
            newest = self.newest()
            made = make(newest)
            if made is None or made is newest:
                return made
            name = f"{self.folder}/{made.number:06d}.json"
            try:
                with storage_errors(self.store.uri_of(name)):
                    self.store.create(name, made.to_json().encode())
            except ObjectExistsError:
                log.info("%s: another writer came first", self.store.uri_of(name))
                continue
            return made
        message = f"{self.uri} changes all the time; start the task again"
        raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, message)

    def _names(self) -> list[str]:
        return [name for name in self.store.list(self.folder) if name.endswith(".json")]

    def _read(self, name: str) -> E:
        try:
            return self.kind.from_json(self.store.read(name))
        except (ContractError, UnicodeDecodeError) as e:
            raise ContractError(self.store.uri_of(name), f"is no {self.kind.__name__}: {e}") from e
