"""Tell a lost peer from a mistake of one's own: the libraries raise one kind of error for both."""

from __future__ import annotations

import re

#: Words of the libraries' messages about their collective operations, and of the operating system's about sockets.
WORDS = re.compile(
    r"\b(socket|connect\w*|poll\w*|peers?|tracker|rabit|collective|all(reduce|gather)|broadcast|linkers?|network|EOF"
    r"|timed? ?out|broken pipe)\b",
    re.IGNORECASE,
)


def is_about_peers(message: str) -> bool:
    """Whether ``message`` says that another rank cannot be reached."""
    return WORDS.search(message) is not None
