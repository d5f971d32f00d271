"""Which model is served now: :class:`Serving` follows the alias, and replaces the model as a whole."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass, field

from trainer.contract import FailureReason, TrainingFailure
from trainer.logs import EventLog
from trainer.serve.model import ServedModel, Source, load

#: What another look may find mended; a model that is broken stays so.
PASSING = (FailureReason.NETWORK_TIMEOUT, FailureReason.PERMISSION_DENIED)


@dataclass(kw_only=True)
class Serving:
    """What is served now. ``model`` is replaced as a whole: a request uses the one that it began with.

    It is None while the registry has no champion yet; health then says so with status 503. ``stopping`` is set when the
    process was told to end: it goes on answering, health sends clients elsewhere.
    """

    model: ServedModel | None
    source: Source
    log: EventLog
    threads: int = 1
    wanted: str = ""
    stopping: bool = False
    _said: str = field(default="", init=False)

    def look(self) -> bool:
        """Whether another version is served than before: the alias is read, and what it means is loaded first.

        A version that cannot be loaded is reported once, and the one that is there goes on. While the storage does not
        answer, each look tries again.
        """
        try:
            if self.model is None and not self.source.there():
                return False
            wanted = self.source.version()
            if wanted == self.wanted:
                return False
            model = self._load(wanted)
        except TrainingFailure as e:
            self._report(e)
            return False
        self.model, self._said = model, ""
        self.log.info("serves", f"{model.model_type} {model.version}", model_version=model.version)
        return True

    async def follow(self, poll_s: float) -> None:
        """Look again and again, whatever a look ends with."""
        while True:
            await asyncio.sleep(poll_s)
            try:
                await asyncio.to_thread(self.look)
            except Exception as e:  # noqa: BLE001 - without this task no champion would ever be served again
                self.log.error("not served", f"the alias cannot be followed: {e!r}", trace=traceback.format_exc())

    def _load(self, wanted: str) -> ServedModel:
        try:
            model = load(self.source.folder(wanted), self.threads)
        except TrainingFailure as e:
            if e.reason not in PASSING:
                self.wanted = wanted
            raise
        self.wanted = wanted
        return model

    def _report(self, failure: TrainingFailure) -> None:
        now = f"{self.model.version} goes on serving" if self.model else "nothing is served"
        message = f"{failure}; {now}"
        if message != self._said:
            self._said = message
            self.log.error("not served", message, reason=failure.reason.value)
