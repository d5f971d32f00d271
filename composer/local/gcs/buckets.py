"""Buckets below a folder: objects with generations, written whole, under preconditions."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

PAGE = 1000


class ApiError(Exception):
    """An HTTP status with Cloud Storage's reason and message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def body(self) -> dict[str, Any]:
        """As a response's body."""
        entry = {"domain": "global", "reason": self.reason, "message": self.message}
        return {"error": {"code": self.code, "message": self.message, "errors": [entry]}}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """What is known of an object besides its content."""

    bucket: str
    name: str
    generation: int
    content_type: str
    size: int
    md5: str
    created: str

    def resource(self, address: str) -> dict[str, Any]:
        """The ``storage#object`` resource, as the server at ``address`` shows it."""
        path = f"storage/v1/b/{self.bucket}/o/{quote(self.name, safe='')}"
        generation = str(self.generation)
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{generation}",
            "selfLink": f"{address}/{path}",
            "mediaLink": f"{address}/download/{path}?generation={generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": generation,
            "metageneration": "1",
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(self.size),
            "md5Hash": self.md5,
            "etag": base64.b64encode(generation.encode()).decode(),
            "timeCreated": self.created,
            "updated": self.created,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of a listing; ``next_token`` is empty on the last one."""

    items: tuple[StoredObject, ...]
    prefixes: tuple[str, ...]
    next_token: str


class Buckets:
    """The objects of all buckets: a file each, whose first line is the object's JSON description.

    A file's name is the hash of the object's, so that ``a`` and ``a/b`` may both be there, and any name fits.
    ``may_delete`` is a right of whoever asks: without it nothing is deleted or replaced, which takes the same right.
    """

    def __init__(self, folder: Path, buckets: Sequence[str], *, may_delete: bool = True) -> None:
        self._folder = folder
        self._may_delete = may_delete
        self._lock = threading.Lock()
        self._newest_generation = 0
        self._objects: dict[str, dict[str, StoredObject]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for bucket in {*buckets, *(p.name for p in folder.iterdir() if p.is_dir())}:
            self.create_bucket(bucket)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket, with what its folder holds already.

        Raises:
            ApiError: 409, it is there.
        """
        with self._lock:
            if bucket in self._objects:
                raise ApiError(409, "conflict", "Your previous request to create the named bucket succeeded.")
            (self._folder / bucket).mkdir(exist_ok=True)
            kept = [_description(path) for path in (self._folder / bucket).iterdir() if not path.name.startswith(".")]
            self._objects[bucket] = {each.name: each for each in kept}

    def require_bucket(self, bucket: str) -> None:
        """Make sure that the bucket is there.

        Raises:
            ApiError: 404.
        """
        with self._lock:
            self._of(bucket)

    def check(self, bucket: str, name: str, generation_match: int | None) -> None:
        """Make sure that the newest generation of an object is ``generation_match`` (0: there is none; None: any).

        Raises:
            ApiError: 412, it is not.
        """
        with self._lock:
            self._check(bucket, name, generation_match)

    def insert(
        self, bucket: str, name: str, data: bytes, content_type: str, generation_match: int | None
    ) -> StoredObject:
        """Write an object, whole, if its newest generation is ``generation_match``.

        Raises:
            ApiError: 404 no such bucket, 412 another generation, 403 it would be replaced without the right to.
        """
        with self._lock:
            self._check(bucket, name, generation_match)
            if name in self._objects[bucket]:
                self._require_right_to_delete(bucket, name)
            self._newest_generation = max(self._newest_generation + 1, time.time_ns() // 1000)
            stored = StoredObject(
                bucket=bucket,
                name=name,
                generation=self._newest_generation,
                content_type=content_type,
                size=len(data),
                md5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
                created=time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            )
            temporary = self._folder / bucket / f".{uuid.uuid4().hex}"
            temporary.write_bytes(json.dumps(asdict(stored)).encode() + b"\n" + data)
            os.replace(temporary, self._path(bucket, name))
            self._objects[bucket][name] = stored
            return stored

    def get(self, bucket: str, name: str) -> StoredObject:
        """An object's description.

        Raises:
            ApiError: 404.
        """
        with self._lock:
            return self._object(bucket, name)

    def read(self, bucket: str, name: str) -> tuple[StoredObject, bytes]:
        """An object's description and content.

        Raises:
            ApiError: 404.
        """
        with self._lock:
            stored = self._object(bucket, name)
            return stored, self._path(bucket, name).read_bytes().partition(b"\n")[2]

    def delete(self, bucket: str, name: str, generation_match: int | None) -> None:
        """Remove an object.

        Raises:
            ApiError: 404, 403, or 412 another generation.
        """
        with self._lock:
            self._object(bucket, name)
            self._require_right_to_delete(bucket, name)
            self._check(bucket, name, generation_match)
            self._path(bucket, name).unlink()
            del self._objects[bucket][name]

    def list(self, bucket: str, prefix: str, delimiter: str, size: int, token: str) -> Page:
        """The page after ``token`` of the objects below ``prefix``; with a delimiter, of folders too.

        Raises:
            ApiError: 404 no such bucket.
        """
        after = base64.urlsafe_b64decode(token).decode() if token else ""
        with self._lock:
            found = {n: o for n, o in self._of(bucket).items() if n.startswith(prefix)}
        entries: dict[str, StoredObject | None] = {}
        for name, stored in found.items():
            folder, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            entries[prefix + folder + cut if cut else name] = None if cut else stored
        names = sorted(n for n in entries if n > after)
        shown, size = names[: min(size, PAGE)], min(size, PAGE)
        return Page(
            items=tuple(found[n] for n in shown if entries[n] is not None),
            prefixes=tuple(n for n in shown if entries[n] is None),
            next_token=base64.urlsafe_b64encode(shown[-1].encode()).decode() if len(names) > size else "",
        )

    def _of(self, bucket: str) -> dict[str, StoredObject]:
        if bucket not in self._objects:
            raise ApiError(404, "notFound", "The specified bucket does not exist.")
        return self._objects[bucket]

    def _object(self, bucket: str, name: str) -> StoredObject:
        if name not in self._of(bucket):
            raise ApiError(404, "notFound", f"No such object: {bucket}/{name}")
        return self._objects[bucket][name]

    def _require_right_to_delete(self, bucket: str, name: str) -> None:
        if not self._may_delete:
            message = f"Permission 'storage.objects.delete' denied on resource {bucket}/{name}."
            raise ApiError(403, "forbidden", message)

    def _check(self, bucket: str, name: str, generation_match: int | None) -> None:
        stored = self._of(bucket).get(name)
        if generation_match is not None and (stored.generation if stored else 0) != generation_match:
            message = "At least one of the pre-conditions you specified did not hold."
            raise ApiError(412, "conditionNotMet", message)

    def _path(self, bucket: str, name: str) -> Path:
        return self._folder / bucket / hashlib.sha256(name.encode()).hexdigest()


def _description(path: Path) -> StoredObject:
    with path.open("rb") as f:
        return StoredObject(**json.loads(f.readline()))
