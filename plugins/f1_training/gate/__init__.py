"""Whether a model may be trained: closed by data that failed its checks, opened by a person."""
