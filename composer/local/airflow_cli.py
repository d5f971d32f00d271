"""``make airflow ARGS=...``: Airflow's own command line, with the configuration of the stack that is up."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from composer.local.places import Places, tool
from composer.local.running import environment, running_stack


def main() -> NoReturn:
    """Become ``airflow`` with the arguments given; fails if nothing is up."""
    places = Places.default()
    info = running_stack(places)
    if info is None:
        print("error: nothing is up: start it with `make up`", file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)
    os.execve(tool("airflow"), ["airflow", *sys.argv[1:]], environment(places, info))  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()
