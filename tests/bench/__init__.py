"""``make bench``: training measured beside its peers, on the same rows, in one run. See ``docs/benchmarks.md``."""
