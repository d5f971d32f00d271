"""Errors in BigQuery's words."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An HTTP status with BigQuery's reason and message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def entry(self) -> dict[str, str]:
        """As a job's status carries it."""
        return {"reason": self.reason, "location": "query", "message": self.message}

    def body(self) -> dict[str, Any]:
        """As a response's body."""
        inner = {"code": self.code, "message": self.message, "errors": [self.entry() | {"domain": "global"}]}
        return {"error": inner | {"status": self.reason}}


def not_found(kind: str, name: str) -> ApiError:
    """404 for a ``Table``, ``Dataset`` or ``Job``."""
    where = "" if kind == "Job" else " was not found in location US"
    return ApiError(404, "notFound", f"Not found: {kind} {name}{where}")


def invalid_query(message: str) -> ApiError:
    """400: the SQL is wrong, or this stand-in refuses it."""
    return ApiError(400, "invalidQuery", message)


def invalid(message: str) -> ApiError:
    """400: the request is wrong."""
    return ApiError(400, "invalid", message)
