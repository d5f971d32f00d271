"""What a real API server would refuse: unknown fields and Jobs that contradict themselves."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from composer.local.kubernetes.quota import is_known

Object = dict[str, Any]
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
KUBERNETES = "1.33"


class InvalidError(ValueError):
    """422: the object is invalid; ``field`` says where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


def validate(resource: str, item: Object) -> None:
    """Refuse an object that a cluster would refuse.

    Raises:
        InvalidError: naming the field.
    """
    name = item["metadata"].get("name", "")
    pattern = LABEL if resource == "services" else NAME
    if not pattern.fullmatch(name):
        raise InvalidError("metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 name is wanted')
    _schema(item)
    if resource == "jobs":
        _job(item["spec"])
    if resource == "resourcequotas":
        _quota(item["spec"])
    if resource == "pods" and not item["spec"].get("containers"):
        raise InvalidError("spec.containers", "Required value")


def validate_change(resource: str, old: Object, new: Object) -> None:
    """Refuse a change of what is immutable.

    Raises:
        InvalidError: naming the field.
    """
    if resource == "secrets" and old.get("immutable") and old.get("data") != new.get("data"):
        raise InvalidError("data", "Forbidden: field is immutable when `immutable` is set")
    if resource != "jobs":
        return
    for field in ("completionMode", "selector", "backoffLimitPerIndex", "podFailurePolicy"):
        if old["spec"].get(field) != new["spec"].get(field):
            raise InvalidError(f"spec.{field}", "Invalid value: field is immutable")
    started = (old.get("status") or {}).get("startTime")
    if old["spec"]["template"] != new["spec"]["template"] and (started or not old["spec"].get("suspend")):
        raise InvalidError("spec.template", "Invalid value: field is immutable")


def _quota(spec: Object) -> None:
    if spec.get("scopes") or spec.get("scopeSelector"):
        raise InvalidError("spec.scopes", "this stand-in keeps no quotas with scopes")
    for resource in spec.get("hard") or {}:
        if not is_known(resource):
            raise InvalidError(f"spec.hard[{resource}]", "this stand-in keeps no such quota")


def _job(spec: Object) -> None:
    template = spec["template"]["spec"]
    indexed = spec.get("completionMode") == "Indexed"
    if template.get("restartPolicy") not in ("Never", "OnFailure"):
        field = "spec.template.spec.restartPolicy"
        raise InvalidError(field, 'Required value: valid values: "OnFailure", "Never"')
    if indexed and spec.get("completions") is None:
        raise InvalidError("spec.completions", "Required value: when completion mode is Indexed")
    if spec.get("backoffLimitPerIndex") is not None and not indexed:
        raise InvalidError("spec.backoffLimitPerIndex", "Invalid value: requires indexed completion mode")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        raise InvalidError("spec.backoffLimitPerIndex", "Required value: when maxFailedIndexes is specified")
    policy = spec.get("podFailurePolicy")
    if policy is not None:
        if template["restartPolicy"] != "Never":
            field = "spec.template.spec.restartPolicy"
            raise InvalidError(field, 'Invalid value: only "Never" is supported when podFailurePolicy is specified')
        if spec.get("podReplacementPolicy", "Failed") != "Failed":
            field = "spec.podReplacementPolicy"
            raise InvalidError(field, 'Invalid value: only "Failed" is supported when podFailurePolicy is specified')


def _schema(item: Object) -> None:
    with contextlib.suppress(ImportError):
        import kubernetes_validate

        if item.get("kind") not in ("Job", "Pod", "Service", "Secret", "ConfigMap", "ResourceQuota"):
            return
        shape = {k: v for k, v in item.items() if k != "status"}
        try:
            kubernetes_validate.validate(shape, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as e:
            path = ".".join(str(p) for p in e.path)
            raise InvalidError(path or "object", e.message[:500]) from e
        except kubernetes_validate.SchemaNotFoundError:
            return
