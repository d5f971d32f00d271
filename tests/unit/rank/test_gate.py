"""The gate: all ranks of a group end a segment at the same round, whenever they are held."""

import random
import threading

import pytest

from trainer.rank.gate import Gate

pytestmark = pytest.mark.timeout(30)


def train(gate: Gate, rounds: int, step: threading.Barrier | None = None, segment: int = 0) -> list[int]:
    """The rounds that a rank trains which waits for its peers in every round."""
    gate.begin(segment, rounds)
    trained = []
    for done in range(1, rounds + 1):
        if step is not None:
            step.wait(10)
        trained.append(done)
        if not gate.passed(done):
            break
    return trained


def test_an_open_gate_lets_every_round_pass() -> None:
    assert train(Gate(), 5) == [1, 2, 3, 4, 5]


def test_a_segment_that_is_over_or_another_one_is_not_held() -> None:
    gate = Gate()
    train(gate, 5)
    assert gate.hold(0) == 5
    gate.until(0, 5)
    assert train(gate, 3, segment=1) == [1, 2, 3]


def test_a_segment_can_be_held_before_it_begins() -> None:
    gate = Gate()
    assert gate.hold(4) == 1
    held = threading.Thread(target=lambda: trained.append(train(gate, 9, segment=4)))
    trained: list[list[int]] = []
    held.start()
    while gate._done < 1:
        pass
    gate.until(4, 3)
    held.join(10)
    assert trained == [[1, 2, 3]]


@pytest.mark.parametrize("seed", range(20))
def test_ranks_that_are_held_at_different_moments_end_together(seed: int) -> None:
    world, rounds = 3, 200
    gates = [Gate() for _ in range(world)]
    step = threading.Barrier(world)
    trained: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda r=rank: trained.update({r: train(gates[r], rounds, step)})) for rank in range(3)
    ]
    for thread in threads:
        thread.start()
    generator = random.Random(seed)
    while gates[0]._done < generator.randrange(1, 100):
        pass
    order = generator.sample(range(world), world)
    held = {rank: gates[rank].hold(0) for rank in order}
    assert max(held.values()) - min(held.values()) <= 1 or max(held.values()) == rounds
    for rank in order:
        gates[rank].until(0, max(held.values()))
    for thread in threads:
        thread.join(10)
    assert trained == {rank: list(range(1, max(held.values()) + 1)) for rank in range(world)}
