"""Checkpoints in a bucket: the newest good one found and verified, a run taken over, a new one committed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from trainer.contract import (
    ContractError,
    FailureReason,
    Manifest,
    ObjectExistsError,
    ObjectStore,
    TrainingFailure,
    layout,
)
from trainer.contract.chain import Candidate, Epoch, candidates, epochs_in
from trainer.contract.objects import sha256
from trainer.logs import utc_now
from trainer.storage import storage_errors


class SupersededError(TrainingFailure):
    """Another chief took the run over, so nothing that this one commits will be resumed from."""

    def __init__(self, epoch: int, by: int, uri: str) -> None:
        message = f"{uri}: epoch {epoch} was taken over by epoch {by}; another chief trains this run, so this one stops"
        super().__init__(FailureReason.CHIEF_LOST, message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a chief finds: the newest good checkpoint, its segments' documents, and why newer ones were passed over."""

    manifest: Manifest | None = None
    name: str = ""
    documents: tuple[bytes, ...] = ()
    passed_over: tuple[str, ...] = ()
    highest_epoch: int = 0


class _Unusable(Exception):
    """A checkpoint is torn or corrupt; the message says how."""


@dataclass(kw_only=True)
class Checkpoints:
    """The checkpoints of one run below ``store``, for a spec whose training-relevant part hashes to ``spec_sha256``."""

    store: ObjectStore
    spec_sha256: str
    chief: str = field(default_factory=lambda: uuid.uuid4().hex)
    _verified: dict[str, bytes] = field(default_factory=dict)

    def newest(self) -> Found:
        """The newest checkpoint whose manifest and segments are whole; those that are not are passed over.

        Raises:
            TrainingFailure: ``ConfigInvalid`` when it was trained from another spec; or what the storage refused.
        """
        with storage_errors(self.store.uri):
            names = self.store.list("epochs")
            markers = {epoch: self._marker(epoch) for epoch in epochs_in(names)}
            found = self._first_usable(candidates(names, markers))
        unreadable = tuple(f"{layout.epoch_marker(e)} cannot be read" for e, m in markers.items() if m is None)
        return Found(
            manifest=found.manifest,
            name=found.name,
            documents=found.documents,
            passed_over=unreadable + found.passed_over,
            highest_epoch=max(markers, default=0),
        )

    def take_over(self, job_id: str) -> tuple[int, Found]:
        """Create the next epoch and return it with what it continues. Of several chiefs the highest epoch wins.

        Raises:
            TrainingFailure: as :meth:`newest`.
        """
        while True:
            # Looked up again after a lost race: the winner's marker decides what the chain is now.
            found = self.newest()
            epoch = found.highest_epoch + 1
            marker = Epoch(job_id=job_id, epoch=epoch, chief=self.chief, parent=found.name, created_at=utc_now())
            with storage_errors(self.store.uri):
                try:
                    self.store.create(layout.epoch_marker(epoch), marker.to_json().encode())
                except ObjectExistsError:
                    continue
            self._verified.clear()
            return epoch, found

    def commit(self, manifest: Manifest, document: bytes) -> None:
        """Write the last segment of ``manifest``, then the manifest: once that exists the checkpoint is committed.

        Writing the same checkpoint again changes nothing. Nothing half-written is ever taken for a checkpoint.

        Raises:
            SupersededError: another chief took over.
            TrainingFailure: ``StorageFull``, ``PermissionDenied`` or ``NetworkTimeout``, naming the URI.
        """
        segment = manifest.segments[-1]
        name = layout.manifest(manifest.epoch, manifest.round)
        with storage_errors(self.store.uri_of(segment.file)):
            self.store.create(segment.file, document)
        with storage_errors(self.store.uri_of(name)):
            self.check_epoch(manifest.epoch)
            self.store.create(name, manifest.to_json().encode())

    def check_epoch(self, epoch: int) -> None:
        """Make sure that nobody took over since ``epoch``. A courtesy that stops a zombie early: the chain fences it.

        Raises:
            SupersededError: somebody did.
        """
        with storage_errors(self.store.uri):
            if self.store.exists(layout.epoch_marker(epoch + 1)):
                raise SupersededError(epoch, max(epochs_in(self.store.list("epochs"))), self.store.uri)

    def _marker(self, epoch: int) -> Epoch | None:
        try:
            return Epoch.from_json(self.store.read(layout.epoch_marker(epoch)))
        except (ContractError, FileNotFoundError, UnicodeDecodeError):
            return None

    def _first_usable(self, chain: list[Candidate]) -> Found:
        passed_over = []
        for candidate in chain:
            try:
                manifest, documents = self._verify(candidate)
            except _Unusable as e:
                passed_over.append(f"{candidate.name}: {e}")
                continue
            return Found(manifest=manifest, name=candidate.name, documents=documents, passed_over=tuple(passed_over))
        return Found(passed_over=tuple(passed_over))

    def _verify(self, candidate: Candidate) -> tuple[Manifest, tuple[bytes, ...]]:
        try:
            manifest = Manifest.from_json(self.store.read(candidate.name))
        except (ContractError, FileNotFoundError, UnicodeDecodeError) as e:
            raise _Unusable(f"the manifest cannot be read ({e})") from e
        if (manifest.epoch, manifest.round) != (candidate.epoch, candidate.round):
            raise _Unusable(f"it describes epoch {manifest.epoch}, round {manifest.round}")
        if manifest.spec_sha256 != self.spec_sha256:
            message = (
                f"{self.store.uri_of(candidate.name)} was trained from another spec ({manifest.spec_sha256[:12]}, this "
                f"one is {self.spec_sha256[:12]}); use another output.checkpoints for another spec"
            )
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        return manifest, tuple(self._document(part.file, part.sha256) for part in manifest.segments)

    def _document(self, file: str, expected: str) -> bytes:
        if file in self._verified and sha256(self._verified[file]) == expected:
            return self._verified[file]
        try:
            data = self.store.read(file)
        except FileNotFoundError as e:
            raise _Unusable(f"{file} is missing") from e
        if sha256(data) != expected:
            raise _Unusable(f"{file} is corrupt: its sha256 is {sha256(data)[:12]}, the manifest says {expected[:12]}")
        self._verified[file] = data
        return data


def require_empty(found: Found, uri: str) -> None:
    """Refuse to start a new run where one has left checkpoints.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming ``uri``.
    """
    if found.highest_epoch:
        message = f"{uri} holds {found.highest_epoch} epochs already, and resume is false; use an empty folder"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
