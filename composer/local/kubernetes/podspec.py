"""From a pod's manifest to a process: folders for its volumes, environment, command."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]
TERMINATION = "/dev/termination-log"
DNS_SHIM = Path(__file__).parent / "dns_shim"
REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class PodConfigError(Exception):
    """The pod refers to what is not there; it waits with this message, as on a cluster."""


class VolumeError(PodConfigError):
    """It is a volume that is not there: the pod's containers are not even created."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """What the kubelet starts."""

    command: list[str]
    environment: dict[str, str]
    folder: Path
    termination_log: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """The machine as pods see it. ``find`` looks up (resource, name) in the pod's namespace."""

    folder: Path
    python: str
    hosts: Path
    pod_environment: Mapping[str, str]
    name: str = "local"


def prepare(pod: Object, address: str, node: Node, find: Callable[[str, str], Object | None]) -> Process:
    """Write the pod's volumes and say what to start.

    Raises:
        PodConfigError: a Secret, ConfigMap or key is missing.
        VolumeError: one that is mounted is.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    container = spec["containers"][0]
    folder = node.folder / metadata["uid"]
    (folder / "home").mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    termination = folder / "termination-log"
    termination.touch()
    moved = {container.get("terminationMessagePath") or TERMINATION: str(termination)}
    volumes = {v["name"]: v for v in spec.get("volumes") or []}
    for mount in container.get("volumeMounts") or []:
        source = folder / "volumes" / mount["name"]
        try:
            _write_volume(source, volumes[mount["name"]], find)
        except PodConfigError as e:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{mount["name"]}" : {e}') from e
        moved[mount["mountPath"].rstrip("/")] = str(source / mount["subPath"] if mount.get("subPath") else source)
    facts = {**pod, "status": {**(pod.get("status") or {}), "podIP": address, "hostIP": "127.0.0.1"}}
    own = _environment(container, facts, find)
    environment = {
        "PATH": f"{Path(node.python).parent}{os.pathsep}{os.defpath}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "HOSTNAME": spec.get("hostname") or metadata["name"],
        "KUBERNETES_STAND_IN_HOSTS": str(node.hosts),
        **node.pod_environment,
        **{name: _moved(value, moved) for name, value in own.items()},
    }
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(DNS_SHIM), environment.get("PYTHONPATH"))))
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    command = [_moved(_expand(word, own), moved) for word in words]
    if command and command[0] in ("python", "python3"):
        command[0] = node.python
    return Process(command=command, environment=environment, folder=folder, termination_log=termination)


def _environment(container: Object, pod: Object, find: Callable[[str, str], Object | None]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for kind, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if kind in source:
                item = _required(find, resource, source[kind]["name"], source[kind].get("optional", False))
                environment |= {source.get("prefix", "") + k: v.decode() for k, v in _data(item).items()}
    for variable in container.get("env") or []:
        value = variable.get("value")
        if value is None and "valueFrom" in variable:
            value = _value_from(variable["valueFrom"], pod, container, find)
        if value is not None:
            environment[variable["name"]] = _expand(value, environment)
    return environment


def _value_from(
    source: Object, pod: Object, container: Object, find: Callable[[str, str], Object | None]
) -> str | None:
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
        return str(((container.get("resources") or {}).get(kind) or {}).get(name, "0"))
    for kind, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if kind in source:
            reference = source[kind]
            optional = reference.get("optional", False)
            data = _data(_required(find, resource, reference["name"], optional))
            if reference["key"] not in data:
                if optional:
                    return None
                raise PodConfigError(f"couldn't find key {reference['key']} in {resource} {reference['name']}")
            return data[reference["key"]].decode()
    raise PodConfigError(f"unsupported valueFrom: {sorted(source)}")


def _field(pod: Object, path: str) -> str:
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = (value or {}).get(part)
    return "" if value is None else str(value)


def _write_volume(folder: Path, volume: Object, find: Callable[[str, str], Object | None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if "secret" in volume:
        item = _required(find, "secrets", volume["secret"]["secretName"], volume["secret"].get("optional", False))
        _write_files(folder, _data(item), 0o400)
    elif "configMap" in volume:
        item = _required(find, "configmaps", volume["configMap"]["name"], volume["configMap"].get("optional", False))
        _write_files(folder, _data(item), 0o444)
    elif "emptyDir" not in volume:
        kinds = ", ".join(k for k in volume if k != "name")
        raise PodConfigError(f"volume {volume['name']}: {kinds} is not served by this stand-in")


def _write_files(folder: Path, data: Mapping[str, bytes], mode: int) -> None:
    for name, content in data.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
        path.chmod(mode)


def _required(find: Callable[[str, str], Object | None], resource: str, name: str, optional: bool) -> Object:
    item = find(resource, name)
    if item is None and not optional:
        raise PodConfigError(f'{resource.removesuffix("s")} "{name}" not found')
    return item or {}


def _data(item: Object) -> dict[str, bytes]:
    if item.get("kind") == "Secret":
        return {k: base64.b64decode(v) for k, v in (item.get("data") or {}).items()}
    return {k: v.encode() for k, v in (item.get("data") or {}).items()}


def _expand(text: str, environment: Mapping[str, str]) -> str:
    return REFERENCE.sub(lambda m: "$" if m[0] == "$$" else environment.get(m[1], m[0]), text)


def _moved(text: str, moved: Mapping[str, str]) -> str:
    """``text`` with every mount path in it replaced by the folder that stands for it.

    In one pass, longest path first: a folder that stands for one mount may lie below the path of another.
    """
    paths = "|".join(re.escape(path) for path in sorted(moved, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])({paths})(?=$|[/\s:,\"'])", lambda found: moved[found[1]], text)
