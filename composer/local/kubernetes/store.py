"""Objects with versions, and watches that miss nothing: the etcd of the stand-in."""

from __future__ import annotations

import collections
import copy
import datetime
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
#: Events kept for watches that begin at an older version; older still is answered with 410 Gone.
HISTORY = 10_000


@dataclass(frozen=True, slots=True)
class Key:
    """Which object: resource in the plural, namespace ("" where there is none), name."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as watches see it."""

    version: int
    kind: str
    key: Key
    object: Object


class ConflictError(Exception):
    """Somebody else changed the object since it was read."""


class GoneError(Exception):
    """The version that a watch begins at is forgotten."""


def now(*, later_s: float = 0.0) -> str:
    """The time, or one ``later_s`` seconds later, as Kubernetes writes it."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=later_s)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All objects. Every method may be called from any thread; what it returns is a copy."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._events: collections.deque[Event] = collections.deque(maxlen=HISTORY)
        self._changed = threading.Condition(threading.RLock())
        self.version = 1

    @property
    def lock(self) -> threading.Condition:
        """Held to read and write several objects at once."""
        return self._changed

    def create(self, key: Key, body: Object) -> Object:
        """Add an object with a uid, a version and a time.

        Raises:
            FileExistsError: there is one of that name.
        """
        with self._changed:
            if key in self._objects:
                raise FileExistsError(key.name)
            item = copy.deepcopy(body)
            metadata = item.setdefault("metadata", {})
            metadata.update(name=key.name, uid=str(uuid.uuid4()), creationTimestamp=now())
            metadata.setdefault("generation", 1)
            if key.namespace:
                metadata["namespace"] = key.namespace
            self._objects[key] = item
            self._emit("ADDED", key)
            return copy.deepcopy(item)

    def get(self, key: Key) -> Object | None:
        """The object, or None."""
        with self._changed:
            return copy.deepcopy(self._objects.get(key))

    def list(self, resource: str, namespace: str = "") -> list[tuple[Key, Object]]:
        """All objects of a resource, of one namespace or of all."""
        with self._changed:
            return [
                (key, copy.deepcopy(item))
                for key, item in self._objects.items()
                if key.resource == resource and namespace in ("", key.namespace)
            ]

    def replace(self, key: Key, body: Object, *, expected: str | None = None) -> Object | None:
        """Put ``body`` in the object's place; nothing happens if they are equal. None if there is no such object.

        Raises:
            ConflictError: the object's version is not ``expected``.
        """
        with self._changed:
            current = self._objects.get(key)
            if current is None:
                return None
            if expected and current["metadata"]["resourceVersion"] != expected:
                raise ConflictError(key.name)
            item = copy.deepcopy(body)
            item["metadata"] |= {k: current["metadata"][k] for k in ("name", "uid", "creationTimestamp")}
            item["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
            if item != current:
                if item.get("spec") != current.get("spec"):
                    item["metadata"]["generation"] = current["metadata"].get("generation", 1) + 1
                self._objects[key] = item
                self._emit("MODIFIED", key)
            return copy.deepcopy(item)

    def remove(self, key: Key) -> None:
        """Forget the object."""
        with self._changed:
            if key in self._objects:
                self._emit("DELETED", key)
                del self._objects[key]

    def watch(
        self, resource: str, namespace: str, since: int, stop: threading.Event, timeout_s: float
    ) -> Iterator[Event]:
        """Changes after version ``since``, until ``timeout_s`` is over.

        Raises:
            GoneError: changes after ``since`` are forgotten.
        """
        end = datetime.datetime.now(datetime.UTC).timestamp() + timeout_s
        seen = since
        with self._changed:
            if self._events and self._events[0].version > since + 1 and len(self._events) == HISTORY:
                raise GoneError(str(since))
        while not stop.is_set():
            with self._changed:
                fresh = [e for e in self._events if e.version > seen]
                if not fresh:
                    left = end - datetime.datetime.now(datetime.UTC).timestamp()
                    if left <= 0:
                        return
                    self._changed.wait(min(left, 5.0))
                    continue
                seen = fresh[-1].version
            for event in fresh:
                if event.key.resource == resource and namespace in ("", event.key.namespace):
                    yield event

    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait for a version after ``seen``; returns the newest version."""
        with self._changed:
            if self.version <= seen:
                self._changed.wait(timeout_s)
            return self.version

    def _emit(self, kind: str, key: Key) -> None:
        self.version += 1
        item = self._objects[key]
        item["metadata"]["resourceVersion"] = str(self.version)
        self._events.append(Event(self.version, kind, key, copy.deepcopy(item)))
        self._changed.notify_all()
