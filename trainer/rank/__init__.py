"""The training process: a plain subprocess that can be killed alone, driven by frames over a socket pair."""
