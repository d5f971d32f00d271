"""Objects in a bucket: whole or absent, created once, or replaced only by who read the newest version.

The rules of an object store, kept on every file system that fsspec opens. Cloud Storage gives them by preconditions
(``if_generation_match``); a plain file system by hard links and renames, which are atomic there. The file system is
handed in, so that this module needs the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import uuid
from dataclasses import dataclass
from typing import Any, Protocol


class ObjectExistsError(Exception):
    """The object is there already, with other content."""


class FileSystem(Protocol):
    """The part of ``fsspec.AbstractFileSystem`` that is used."""

    protocol: Any

    def cat_file(self, path: str) -> bytes:
        """The whole file."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> Any:
        """Write the whole file; ``create`` refuses one that is there."""

    def find(self, path: str) -> list[str]:
        """All files below a folder."""

    def exists(self, path: str) -> bool:
        """Whether it is there."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder."""

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings."""


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """Objects below ``root``. ``filesystem`` and ``root`` come from ``fsspec.core.url_to_fs(uri)``, ``uri`` is kept to
    name objects. Names are relative, with ``/``.
    """

    filesystem: FileSystem
    root: str
    uri: str

    def uri_of(self, name: str) -> str:
        """The full URI of object ``name``."""
        return f"{self.uri.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes:
        """The object's bytes.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return self.filesystem.cat_file(self._path(name))

    def exists(self, name: str) -> bool:
        """Whether the object is there, asked of the store and not of a cache."""
        self.filesystem.invalidate_cache()
        return self.filesystem.exists(self._path(name))

    def list(self, prefix: str = "") -> list[str]:
        """Names of the objects below folder ``prefix``, sorted; unfinished writes are not among them."""
        self.filesystem.invalidate_cache()
        base = self._path("").rstrip("/")
        try:
            found = self.filesystem.find(self._path(prefix))
        except FileNotFoundError:
            return []
        names = (posixpath.relpath(p, base) for p in found)
        return sorted(n for n in names if not posixpath.basename(n).startswith("."))

    def create(self, name: str, data: bytes) -> bool:
        """Write ``name`` once, whole or not at all. False when it was there already with equal content.

        Raises:
            ObjectExistsError: it is there with other content.
            OSError: the store refused; nothing is left under ``name``.
        """
        try:
            if self._is_local:
                self._link(name, data)
            else:
                self.filesystem.pipe_file(self._path(name), data, mode="create")
        except (FileExistsError, OSError) as e:
            if not isinstance(e, FileExistsError) and getattr(e, "code", None) not in (409, 412):
                raise
            if self.read(name) == data:
                return False
            raise ObjectExistsError(f"{self.uri_of(name)} exists already with other content") from e
        return True

    def put(self, name: str, data: bytes) -> None:
        """Write or replace ``name``, whole or not at all (last writer wins: use it only where one writer exists)."""
        if not self._is_local:
            self.filesystem.pipe_file(self._path(name), data)
            return
        temporary = self._temporary(name, data)
        os.replace(temporary, self._path(name))

    @property
    def _is_local(self) -> bool:
        # A file system shows a file while it is being written; an object store does not.
        protocol = self.filesystem.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else tuple(protocol))

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name) if name else self.root

    def _link(self, name: str, data: bytes) -> None:
        temporary = self._temporary(name, data)
        try:
            os.link(temporary, self._path(name))
        finally:
            os.unlink(temporary)

    def _temporary(self, name: str, data: bytes) -> str:
        path = self._path(name)
        folder = posixpath.dirname(path)
        os.makedirs(folder, exist_ok=True)
        temporary = posixpath.join(folder, f".{posixpath.basename(path)}.{uuid.uuid4().hex}")
        try:
            with open(temporary, "xb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        return temporary
