"""A stand-in for the part of Cloud Storage's JSON API that this project's buckets need, for tests."""
