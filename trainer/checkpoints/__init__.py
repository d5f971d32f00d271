"""Committed checkpoints of a run: found, verified, taken over and written."""

from trainer.checkpoints.chain import Candidate, Epoch, candidates
from trainer.checkpoints.identity import spec_sha256
from trainer.checkpoints.store import Checkpoints, Found, SupersededError

__all__ = ["Candidate", "Checkpoints", "Epoch", "Found", "SupersededError", "candidates", "spec_sha256"]
