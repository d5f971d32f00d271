"""What a rank does when told: load, address, join, build, restore, train, leave, stop.

| Command | Arguments | Reply |
|---|---|---|
| ``load`` | ``spec``: JSON, ``shards``: numbers by split | ``rows`` by split, ``arrow_bytes``, ``target_sum``, ``target_weight``, ``seconds`` |
| ``address`` | ``host`` | ``host``, ``port``: a free one, held until ``join`` |
| ``join`` | ``rank``, ``world``, ``tracker``, ``machines``, ``timeout_s`` | ``rank`` |
| ``build`` | ``base_score`` | ``seconds`` |
| ``restore`` | ``round``; payload: the assembled model | ``seconds`` |
| ``train`` | ``segment``, ``first_round``, ``rounds``, ``seed`` | ``rounds`` that were trained, ``digest``, ``seconds``, ``validation``, ``train``, ``usage``; payload of rank 0: the document |
| ``leave``, ``stop`` | | |

``hold`` and ``until`` come while ``train`` runs, and end it early at the same round on all ranks: see
:mod:`trainer.rank.gate`.
"""  # noqa: E501 - a table

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.contract import ContractError, FailureReason, TrainingFailure, TrainingSpec
from trainer.memory import give_back_memory, peak_bytes
from trainer.rank.gate import Gate

if TYPE_CHECKING:
    from trainer.boosters import RankBooster
    from trainer.data import Rows

PROGRESS_EVERY_S = 0.5
#: Kept of a traceback: a termination message has 4 KiB.
TRACEBACK_LINES = 12
Arguments = Mapping[str, Any]
Frame = tuple[dict[str, Any], bytes]


@dataclass
class Rank:
    """The state of one rank between commands. ``report`` sends progress while a command runs.

    The libraries are imported when ``load`` says which one it is, so that the process starts quickly.
    """

    cache_dir: Path
    report: Callable[[dict[str, Any]], None]
    gate: Gate = field(default_factory=Gate)
    _loaded: _Loaded | None = None
    _port: socket.socket | None = None
    _rank: int = 0
    _reported_at: float = field(default=float("-inf"))

    def answer(self, command: str, arguments: Arguments, payload: bytes) -> Frame:
        """The frame that answers ``command``: a reply, or the failure that it ended with."""
        handler = getattr(self, f"do_{command}", None)
        if handler is None:
            return _failure(FailureReason.BUG, f"a rank knows no command {command!r}")
        began = time.monotonic()
        try:
            reply, answer = handler(arguments, payload)
        except TrainingFailure as e:
            return _failure(e.reason, str(e))
        except ContractError as e:
            return _failure(FailureReason.CONFIG_INVALID, str(e))
        except MemoryError as e:
            return _failure(FailureReason.OUT_OF_MEMORY, f"no memory was left: {e}")
        except Exception:  # noqa: BLE001 - whatever it is, who gave the command hears of it
            lines = traceback.format_exc().strip().splitlines()
            return _failure(FailureReason.BUG, "\n".join(lines[-TRACEBACK_LINES:]))
        return {"kind": "reply", "reply": {**reply, "seconds": time.monotonic() - began}}, answer

    def do_load(self, arguments: Arguments, _payload: bytes) -> Frame:
        """Check what can be checked without rows, then load them."""
        from trainer.boosters import engine_for
        from trainer.data import ShardReader, no_rows

        spec = TrainingSpec.from_json(arguments["spec"])
        engine = engine_for(spec.engine)
        engine.check_device(spec.device)
        engine.check_params(spec)
        reader = ShardReader(snapshot=spec.snapshot, features=spec.features, target=spec.target, folder=self.cache_dir)
        shards = {split: tuple(int(s) for s in numbers) for split, numbers in arguments["shards"].items()}
        self._loaded = loaded = _Loaded(spec=spec, reader=reader, shards=shards, booster=engine.rank_booster(spec))
        rows = {split: loaded.rows_of(split) for split in shards}
        for some in rows.values():
            some.require_target_of(spec.objective, spec.classes)
        train = rows.get(spec.train_split, no_rows(spec.features))
        reply = {
            "rows": {split: len(some) for split, some in rows.items()},
            "arrow_bytes": sum(some.arrow_bytes for some in rows.values()),
            "target_sum": float(train.target.sum()),
            "target_weight": float(len(train)),
        }
        del rows, train  # mapped from their files, which would count as this process's memory
        give_back_memory()
        return reply, b""

    def do_address(self, arguments: Arguments, _payload: bytes) -> Frame:
        """Find a free port, and hold it so that no other rank of this machine is given it."""
        host = socket.gethostbyname(arguments["host"])  # LightGBM compares addresses, not names
        self._release_port()
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._port.bind((host, 0))
        except OSError as e:
            message = f"COLLECTIVE_HOST: {host} is no address of this machine ({e.strerror})"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
        return {"host": host, "port": self._port.getsockname()[1]}, b""

    def do_join(self, arguments: Arguments, _payload: bytes) -> Frame:
        """Connect to the other ranks."""
        from trainer.boosters import Group

        group = Group(**{name: arguments[name] for name in ("rank", "world", "tracker", "machines", "timeout_s")})
        self._release_port()
        self._ready().booster.join(group)
        self._rank = group.rank
        return {"rank": group.rank}, b""

    def do_build(self, arguments: Arguments, _payload: bytes) -> Frame:
        """Build the matrices."""
        loaded = self._ready()
        train, validation = loaded.both()
        if not len(train):
            message = (
                f"num_workers: rank {self._rank} has no training rows; too few shards have any for so many workers"
            )
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        loaded.booster.build(train, validation, float(arguments["base_score"]))
        return {}, b""

    def do_restore(self, _arguments: Arguments, payload: bytes) -> Frame:
        """Predict the model's trees again."""
        loaded = self._ready()
        loaded.booster.restore(payload, *loaded.both())
        return {}, b""

    def do_train(self, arguments: Arguments, _payload: bytes) -> Frame:
        """Train one segment."""
        first, rounds = int(arguments["first_round"]), int(arguments["rounds"])
        self.gate.begin(int(arguments["segment"]), rounds)

        def on_round(done: int) -> bool:
            now = time.monotonic()
            if now - self._reported_at >= PROGRESS_EVERY_S:
                self._reported_at = now
                self.report({"round": first + done})
            return self.gate.passed(done)

        booster = self._ready().booster
        began, cpu_began_s = time.monotonic(), time.process_time()
        trees = booster.train_segment(rounds=rounds, seed=int(arguments["seed"]), on_round=on_round)
        trained = len(trees.validation)
        reply = {"rounds": trained, "digest": trees.digest, "validation": trees.validation, "train": trees.train}
        took_s = max(time.monotonic() - began, 1e-3)
        # Of all threads, so that idle CPUs are seen.
        cpus = (time.process_time() - cpu_began_s) / took_s
        reply["usage"] = {"peak_memory_bytes": float(peak_bytes()), "cpus": cpus}
        return reply, trees.document if self._rank == 0 else b""

    def do_leave(self, _arguments: Arguments, _payload: bytes) -> Frame:
        """Disconnect from the other ranks."""
        if self._loaded is not None:
            self._loaded.booster.leave()
        return {}, b""

    def do_stop(self, _arguments: Arguments, _payload: bytes) -> Frame:
        """Nothing more: the process ends after its reply."""
        return {}, b""

    def _release_port(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _ready(self) -> _Loaded:
        if self._loaded is None:
            raise TrainingFailure(FailureReason.BUG, "nothing is loaded: `load` comes first")
        return self._loaded


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    """What ``load`` prepared. Rows are mapped from their files whenever they are needed, and held by nobody."""

    spec: TrainingSpec
    reader: Any
    shards: Mapping[str, tuple[int, ...]]
    booster: RankBooster

    def rows_of(self, split: str | None) -> Rows:
        from trainer.data import no_rows

        if split is None or split not in self.shards:
            return no_rows(self.spec.features)
        rows: Rows = self.reader.rows(split, self.shards[split])
        return rows

    def both(self) -> tuple[Rows, Rows]:
        return self.rows_of(self.spec.train_split), self.rows_of(self.spec.validation_split)


def _failure(reason: FailureReason, message: str) -> Frame:
    return {"kind": "failure", "reason": reason.value, "message": message}, b""
