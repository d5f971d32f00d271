"""Messages that the libraries raised when a peer was killed, stopped or refused, and others."""

import pytest

from trainer.boosters.peers import is_about_peers
from trainer.boosters.xgb import message_of

EOF = """[learner.cc:801|00:30:48]:
- [allreduce.cc:39|00:30:48]: Ring allreduce small failed.
- [loop.cc:101|00:30:48]: Encountered EOF. The other end is likely closed.
- [socket.h:348|00:30:48]: Socket error. Broken pipe
Stack trace:
  [bt] (0) libxgboost.so(+0x1) [0x7f]
"""


@pytest.mark.parametrize(
    "message",
    [
        EOF,
        "[comm.cc:52]: Failed to connect to the tracker.",
        "poll timeout: 5s.",
        "Socket recv error, Connection reset by peer (code: 104)",
        "Connecting to rank 1 failed",
    ],
)
def test_a_lost_peer(message: str) -> None:
    assert is_about_peers(message)


@pytest.mark.parametrize(
    "message",
    [
        "Check failed: (train_data->num_features()) > (0)",
        "[00:30:48] /workspace/src/objective/regression_obj.cu:50: label must be in [0,1] for logistic regression",
        "Invalid Parameter format for max_depth expect int but value='deep'",
    ],
)
def test_a_mistake(message: str) -> None:
    assert not is_about_peers(message)


def test_messages_are_shown_without_where_and_when() -> None:
    expected = (
        "Ring allreduce small failed.; Encountered EOF. The other end is likely closed.; Socket error. Broken pipe"
    )
    assert message_of(RuntimeError(EOF)) == expected
