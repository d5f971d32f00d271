"""Frames over a socket pair: whole or not at all, with deadlines."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from trainer.rank.frames import SIZES, EndOfFrames, Frames


@pytest.fixture
def pair() -> Iterator[tuple[Frames, Frames]]:
    one, other = socket.socketpair()
    with one, other:
        yield Frames(one), Frames(other)


def test_frames_arrive_as_they_were_sent(pair: tuple[Frames, Frames]) -> None:
    here, there = pair
    large = bytes(range(256)) * 40_000
    frames = [({"a": 1, "ä": [None, 1.5]}, b""), ({}, b"\0\n"), ({"large": True}, large)]

    def send() -> None:
        for header, payload in frames:
            here.send(header, payload)

    thread = threading.Thread(target=send)
    thread.start()
    assert [there.receive(time.monotonic() + 5) for _ in frames] == frames
    thread.join(5)


def test_a_frame_that_stops_in_the_middle_is_no_frame(pair: tuple[Frames, Frames]) -> None:
    here, there = pair
    here.send({"a": 1})
    here.connection.sendall(SIZES.pack(100, 0) + b"{")
    here.connection.close()
    assert there.receive() == ({"a": 1}, b"")
    with pytest.raises(EndOfFrames):
        there.receive()


def test_what_came_before_a_deadline_is_kept(pair: tuple[Frames, Frames]) -> None:
    here, there = pair
    text = json.dumps({"late": 1}).encode()
    here.connection.sendall(SIZES.pack(len(text), 0) + text[:3])
    with pytest.raises(TimeoutError):
        there.receive(time.monotonic() + 0.05)
    here.connection.sendall(text[3:])
    assert there.receive(time.monotonic() + 5) == ({"late": 1}, b"")


def test_sending_to_somebody_who_does_not_read_ends_at_the_deadline(pair: tuple[Frames, Frames]) -> None:
    here, _ = pair
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        here.send({}, bytes(50 << 20), began + 0.2)
    assert time.monotonic() - began < 2


def test_sending_to_nobody_is_the_end(pair: tuple[Frames, Frames]) -> None:
    here, there = pair
    there.connection.close()
    with pytest.raises(EndOfFrames):
        here.send({}, b"x")
    here.connection.close()
    with pytest.raises(EndOfFrames):
        here.receive(time.monotonic() + 1)
