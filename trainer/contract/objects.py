"""Objects in a bucket: whole or absent, created once, or replaced only by who read the newest version.

The rules of an object store, kept on every file system that fsspec opens. Cloud Storage gives them by preconditions
(``if_generation_match``); a plain file system by hard links and renames, which are atomic there, of files that have no
name until they are whole: a process killed while it writes leaves nothing behind. The file system is handed in, so
that this module needs the standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import uuid
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

#: What ``open`` answers where a file system has no unnamed files (``O_TMPFILE``): NFS, some FUSE, old kernels.
NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class ObjectExistsError(Exception):
    """The object is there already, with other content."""


class FileSystem(Protocol):
    """The part of ``fsspec.AbstractFileSystem`` that is used."""

    @property
    def protocol(self) -> Any:
        """The schemes that it serves: one, or several."""

    def cat_file(self, path: str) -> bytes:
        """The whole file."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> Any:
        """Write the whole file; ``create`` refuses one that is there."""

    def find(self, path: str) -> list[str]:
        """All files below a folder."""

    def exists(self, path: str) -> bool:
        """Whether it is there."""

    def rm_file(self, path: str) -> Any:
        """Remove one file."""

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
                write_new(self._path(name), data)
            else:
                self.filesystem.pipe_file(self._path(name), data, mode="create")
        except OSError as e:
            if not _may_be_there(e):
                raise
            try:
                there = self.read(name)
            except OSError:
                raise e from None
            if there == data:
                return False
            raise ObjectExistsError(f"{self.uri_of(name)} exists already with other content") from e
        return True

    def create_beside(self, name: str, data: bytes) -> str:
        """Write ``data`` once: as ``name``, or where that has other content, beside it, named after the content.

        For accounts that may not replace an object; on Cloud Storage that takes the right to delete. Returns the name
        that ``data`` has.

        Raises:
            OSError: the store refused; nothing is left.
        """
        try:
            self.create(name, data)
        except ObjectExistsError:
            stem, suffix = posixpath.splitext(name)
            name = f"{stem}.{sha256(data)[:12]}{suffix}"
            self.create(name, data)
        return name

    def put(self, name: str, data: bytes, content_type: str = "") -> None:
        """Write or replace ``name``, whole or not at all (last writer wins: use it only where one writer exists).

        A browser shows an object of Cloud Storage as its ``content_type`` says. For Airflow's account only, as
        :meth:`delete` is.
        """
        path = self._path(name)
        if not self._is_local:
            self.filesystem.pipe_file(path, data, **({"content_type": content_type} if content_type else {}))
            return
        # A file without a name cannot take the place of one, so for a moment it has a hidden name.
        temporary = _hidden(path)
        write_new(temporary, data)
        try:
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def delete(self, name: str) -> None:
        """Remove ``name``; nothing happens when it is not there.

        For Airflow's account only: the accounts of chief and workers have no right to delete, so that nothing that
        they are made to do can destroy a checkpoint. ``trainer`` never calls this.
        """
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self._path(name))

    @property
    def _is_local(self) -> bool:
        # A file system shows a file while it is being written; an object store does not.
        protocol = self.filesystem.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else tuple(protocol))

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name) if name else self.root


def _may_be_there(error: OSError) -> bool:
    """Whether a create-only write was refused because of what is there. An account that may not delete may be told
    that it may not, instead of that the precondition fails."""
    return (
        isinstance(error, FileExistsError)
        or getattr(error, "code", None) in (403, 409, 412)
        or str(error).startswith("Forbidden: ")
    )


def write_new(path: str, data: bytes) -> None:
    """Write a local file that is not there yet: whole or not at all, even if this process is killed meanwhile.

    Raises:
        FileExistsError: it is there.
        OSError: the disk refused; nothing is left.
    """
    folder = posixpath.dirname(path)
    os.makedirs(folder, exist_ok=True)
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError as e:
        if e.errno not in NO_UNNAMED_FILES:
            raise
        _write_named(path, data)
        return
    with open(descriptor, "wb") as f:
        _fill(f, data)
        # A descriptor of a folder makes Python call linkat(): link() would link the symbolic link below /proc itself.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def _write_named(path: str, data: bytes) -> None:
    # Killed in here, a process leaves a hidden file, which no listing shows.
    temporary = _hidden(path)
    try:
        with open(temporary, "xb") as f:
            _fill(f, data)
        os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _hidden(path: str) -> str:
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.{uuid.uuid4().hex}")
