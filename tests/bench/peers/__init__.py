"""One script a peer, run by the environment ``var/bench/venv``: ``python -m tests.bench.peers.NAME config.json``.

Each reads the rows before the clock starts, then times building the matrix and training, and writes what it found.
"""
