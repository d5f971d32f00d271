"""Vertex AI: versions of the registry in its Model Registry, and champions on its endpoints."""
