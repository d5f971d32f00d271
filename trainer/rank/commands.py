"""What a rank does when told: load, address, join, build, restore, train, leave."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.contract import FailureReason, TrainingFailure, TrainingSpec

PROGRESS_EVERY_S = 0.5
Answer = tuple[dict[str, Any], bytes]


class Rank:
    """The state of one rank between commands. ``say`` sends a progress report while a command runs."""

    def __init__(self, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._say = say
        self._spec: TrainingSpec | None = None
        self._rows: dict[str, Any] = {}
        self._booster: Any = None
        self._rank = 0
        self._port: socket.socket | None = None

    def answer(self, command: str, arguments: Mapping[str, Any], payload: bytes) -> Answer:
        """The frame that answers ``command``: a reply, or a failure with its reason."""
        handlers: Mapping[str, Callable[[Mapping[str, Any], bytes], Answer]] = {
            "load": self._load,
            "address": self._address,
            "join": self._join,
            "build": self._build,
            "restore": self._restore,
            "train": self._train,
            "leave": self._leave,
            "stop": self._leave,
        }
        try:
            if command not in handlers:
                raise TrainingFailure(FailureReason.BUG, f"unknown command {command!r}")
            reply, body = handlers[command](arguments, payload)
        except TrainingFailure as e:
            return {"kind": "failure", "reason": e.reason.value, "message": str(e)}, b""
        except MemoryError:
            message = f"out of memory during {command}"
            return {"kind": "failure", "reason": FailureReason.OUT_OF_MEMORY.value, "message": message}, b""
        except Exception as e:  # noqa: BLE001 - it goes to whoever gave the command
            return {"kind": "failure", "reason": _reason(e), "message": f"{command}: {_shown(e)}"}, b""
        return {"kind": "reply", "reply": reply}, body

    def _load(self, arguments: Mapping[str, Any], _payload: bytes) -> Answer:
        from trainer.boosters import Rows, engine_for
        from trainer.data.shards import ShardCache, load_shards

        began = time.monotonic()
        spec = TrainingSpec.from_json(arguments["spec"])
        engine = engine_for(spec.engine)
        engine.check_device(spec.device)
        self._booster = engine.rank_booster(spec)
        cache = ShardCache(folder=Path(os.environ["TRAINING_CACHE_DIR"]), spec=spec)
        loaded = {split: load_shards(cache, split, shards) for split, shards in arguments["shards"].items()}
        self._spec = spec
        self._rows = {split: Rows(rows.features, rows.target) for split, rows in loaded.items()}
        target = loaded[spec.train_split].target
        reply = {
            "rows": {split: len(rows) for split, rows in self._rows.items()},
            "arrow_bytes": sum(rows.arrow_bytes for rows in loaded.values()),
            "target_sum": float(target.sum(dtype="float64")),
            "target_weight": float(len(target)),
            "seconds": time.monotonic() - began,
        }
        return reply, b""

    def _address(self, arguments: Mapping[str, Any], _payload: bytes) -> Answer:
        # Kept until the library binds it, so that no peer on the same host is given the same port.
        self._release_port()
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind((arguments["host"], 0))
        return {"host": arguments["host"], "port": self._port.getsockname()[1]}, b""

    def _join(self, arguments: Mapping[str, Any], _payload: bytes) -> Answer:
        self._release_port()
        self._rank = self._booster.join(
            rank=arguments["rank"],
            world=arguments["world"],
            tracker=arguments["tracker"],
            machines=arguments["machines"],
            timeout_s=arguments["timeout_s"],
        )
        return {"rank": self._rank}, b""

    def _build(self, arguments: Mapping[str, Any], _payload: bytes) -> Answer:
        from trainer.boosters import Rows

        began = time.monotonic()
        spec = self._spec_loaded()
        train = self._rows[spec.train_split]
        empty = Rows(train.features[:0], train.target[:0])
        self._booster.build(train, self._rows.get(spec.validation_split or "", empty), float(arguments["base_score"]))
        self._rows = {}  # the booster keeps what it needs
        return {"seconds": time.monotonic() - began}, b""

    def _restore(self, _arguments: Mapping[str, Any], payload: bytes) -> Answer:
        began = time.monotonic()
        self._booster.restore(payload)
        return {"seconds": time.monotonic() - began}, b""

    def _train(self, arguments: Mapping[str, Any], _payload: bytes) -> Answer:
        began, said = time.monotonic(), [float("-inf")]

        def on_round(done: int) -> None:
            now = time.monotonic()
            if now - said[0] >= PROGRESS_EVERY_S:
                said[0] = now
                self._say({"round": arguments["first_round"] + done})

        trees = self._booster.train_segment(rounds=arguments["rounds"], seed=arguments["seed"], on_round=on_round)
        reply = {
            "digest": trees.digest,
            "seconds": time.monotonic() - began,
            "validation": trees.validation,
            "train": trees.train,
        }
        return reply, trees.document if self._rank == 0 else b""

    def _leave(self, _arguments: Mapping[str, Any], _payload: bytes) -> Answer:
        if self._booster is not None:
            self._booster.leave()
        return {}, b""

    def _release_port(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _spec_loaded(self) -> TrainingSpec:
        if self._spec is None:
            raise TrainingFailure(FailureReason.BUG, "nothing is loaded")
        return self._spec


def _reason(error: Exception) -> str:
    # A peer's death reaches us as the library's own error about its socket.
    text = str(error).lower()
    lost = any(
        word in text for word in ("socket", "connection", "connect", "poll", "timeout", "peer", "linker", "network")
    )
    ours = type(error).__name__ in ("XGBoostError", "LightGBMError")
    return (FailureReason.WORKERS_LOST if ours and lost else FailureReason.BUG).value


def _shown(error: Exception) -> str:
    if type(error).__name__ in ("XGBoostError", "LightGBMError"):
        return " ".join(line.strip() for line in str(error).splitlines()[:3])
    return "".join(traceback.format_exception(error))
