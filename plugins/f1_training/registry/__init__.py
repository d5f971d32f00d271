"""The model registry: versions and aliases as objects in a bucket."""
