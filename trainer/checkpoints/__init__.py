"""Committed checkpoints of a run: found, verified, taken over and written."""

from trainer.checkpoints.identity import spec_sha256
from trainer.checkpoints.store import Checkpoints, Found, SupersededError
from trainer.contract.chain import Candidate, Epoch, candidates

__all__ = ["Candidate", "Checkpoints", "Epoch", "Found", "SupersededError", "candidates", "spec_sha256"]
