"""Who may do what: everybody everything, but for what the command line denies, as a cluster's roles would."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def asked(method: str, resource: str, name: str, sub: str, *, watch: bool) -> str:
    """A request in the words of a role's rule: ``create secrets``, ``get pods/log``."""
    verb = VERBS[method]
    if verb == "get" and not name:
        verb = "watch" if watch else "list"
    if verb == "delete" and not name:
        verb = "deletecollection"
    return f"{verb} {resource}{'/' if sub else ''}{sub}"


def review(body: Any, denied: Collection[str]) -> dict[str, Any]:
    """The answer to a SelfSubjectAccessReview."""
    about = ((body or {}).get("spec") or {}).get("resourceAttributes") or {}
    sub = about.get("subresource") or ""
    rule = f"{about.get('verb', '')} {about.get('resource', '')}{'/' if sub else ''}{sub}"
    allowed = rule not in denied
    return {**(body or {}), "status": {"allowed": allowed, **({} if allowed else {"reason": ""})}}
