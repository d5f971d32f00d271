"""What Terraform would make: files and variables resolved into resources, without a provider and without a cloud.

An attribute that only Google could answer (a network's id, say) reads as its address, so that what refers to the same
thing is equal. Names, e-mail addresses and members of accounts are those that Google gives.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hcl2

from composer.policy.expressions import Expression, ExpressionError, Scope, expression, extended
from composer.policy.functions import functions_of

META = ("__is_block__", "__comments__", "__inline_comments__")
#: Arguments of a resource that say how many there are, or when; not what it is.
HOW = ("for_each", "count", "depends_on", "lifecycle", "provider")
PROJECT_NUMBER = "123456789012"


@dataclass(frozen=True)
class Resource:
    """One resource: ``module.iam.google_service_account.of["trainer"]`` and its arguments. Blocks are lists."""

    address: str
    type: str
    name: str
    key: Any
    arguments: Mapping[str, Any]
    project: str

    def __getitem__(self, name: str) -> Any:
        """An argument, or what Google would answer."""
        if name in self.arguments:
            return self.arguments[name]
        computed = self._computed()
        return computed[name] if name in computed else Unknown(f"{self.address}.{name}")

    def get(self, name: str, default: Any = None) -> Any:
        """An argument; ``default`` where it is not given."""
        return self.arguments.get(name, default)

    def one(self, block: str) -> Mapping[str, Any]:
        """The only block of its name."""
        (found,) = self.arguments[block]
        return dict(found)

    def _computed(self) -> Mapping[str, Any]:
        if self.type == "google_service_account":
            email = f"{self.arguments['account_id']}@{self.project}.iam.gserviceaccount.com"
            name = f"projects/{self.project}/serviceAccounts/{email}"
            return {"email": email, "member": f"serviceAccount:{email}", "name": name}
        if self.type == "google_project_iam_custom_role":
            return {"id": f"projects/{self.get('project', self.project)}/roles/{self.arguments['role_id']}"}
        if self.type == "google_kms_crypto_key":
            return {"id": f"{self.arguments['key_ring']}/cryptoKeys/{self.arguments['name']}"}
        return {"number": PROJECT_NUMBER} if self.type == "google_project" else {}


class Unknown(str):
    """An attribute that is known once it is made: the address, whose parts are unknown too."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Unknown:
        return Unknown(f"{self}.{key}")


@dataclass(frozen=True)
class Module:
    """A folder with its files, given ``inputs``. Everything is resolved when it is asked for."""

    folder: Path
    inputs: Mapping[str, Any]
    root: Path
    address: str = ""
    project: str = ""
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def resources(self) -> Iterator[Resource]:
        """All resources of this module and of those that it calls."""
        for kind, named in self._blocks["resource"].items():
            for name in named:
                yield from self._instances(kind, name).values()
        for name in self._blocks["module"]:
            yield from self._module(name).resources()

    def output(self, name: str) -> Any:
        """An output's value."""
        return self._evaluate(self._blocks["output"][name]["value"], self._look_up)

    def outputs(self) -> Mapping[str, Any]:
        """All of them."""
        return {name: self.output(name) for name in self._blocks["output"]}

    def check(self) -> None:
        """Hold the variables to their validations, and see that each is given.

        Raises:
            ExpressionError: naming the variable.
        """
        unknown = sorted(set(self.inputs) - set(self._blocks["variable"]))
        if unknown:
            raise ExpressionError(f"{self.address or 'root'}: no such variables: {', '.join(unknown)}")
        for name, block in self._blocks["variable"].items():
            self.variable(name)
            for rule in block.get("validation", []):
                if not self._evaluate(rule["condition"], self._look_up):
                    raise ExpressionError(f"var.{name}: {self._evaluate(rule['error_message'], self._look_up)}")
        for name in self._blocks["module"]:
            self._module(name).check()

    def literals(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of a .tfvars file, which refer to nothing."""
        return {name: self._evaluate(value, _nothing) for name, value in values.items()}

    @functools.cached_property
    def _blocks(self) -> Mapping[str, dict[str, Any]]:
        return _read(self.folder)

    def _instances(self, kind: str, name: str, of: str = "resource") -> dict[Any, Resource]:
        if (kind, name) not in self._cache:
            self._cache[kind, name] = dict(self._made(kind, name, self._blocks[of][kind][name]))
        found: dict[Any, Resource] = self._cache[kind, name]
        return found

    def _made(self, kind: str, name: str, block: Mapping[str, Any]) -> Iterator[tuple[Any, Resource]]:
        for key, scope in self._repeated(block):
            at = "" if key is None else f'["{key}"]' if isinstance(key, str) else f"[{key}]"
            arguments = self._body({n: v for n, v in block.items() if n not in HOW}, scope)
            address = f"{self.address}{kind}.{name}{at}"
            yield key, Resource(address, kind, name, key, arguments, self.project)

    def _repeated(self, block: Mapping[str, Any]) -> Iterator[tuple[Any, Scope]]:
        if "count" in block:
            for i in range(int(self._evaluate(block["count"], self._look_up))):
                yield i, self._with({"count": {"index": i}})
        elif "for_each" in block:
            for key, value in _pairs(self._evaluate(block["for_each"], self._look_up)):
                yield key, self._with({"each": {"key": key, "value": value}})
        else:
            yield None, self._look_up

    def _body(self, block: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in block.items():
            if name in META:
                continue
            if name == "dynamic":
                for wanted, block in self._dynamic(value, scope):
                    made.setdefault(wanted, []).append(block)
            elif _is_blocks(value):
                made.setdefault(name, []).extend(self._body(item, scope) for item in value)
            else:
                made[name] = self._evaluate(value, scope)
        return {name: value for name, value in made.items() if value is not None}

    def _dynamic(self, blocks: list[Mapping[str, Any]], scope: Scope) -> Iterator[tuple[str, dict[str, Any]]]:
        for block in blocks:
            for quoted, body in block.items():
                if quoted in META:
                    continue
                name, (content,) = _bare(quoted), body["content"]
                pairs = _pairs(self._evaluate(body["for_each"], scope))
                for key, each in pairs:
                    yield name, self._body(content, extended(scope, {name: {"key": key, "value": each}}))

    def _evaluate(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Mapping):
            pairs = ((key, item) for key, item in value.items() if key not in META)
            return {self._key(key, scope): self._evaluate(item, scope) for key, item in pairs}
        if isinstance(value, list):
            return [self._evaluate(item, scope) for item in value]
        if not isinstance(value, str):
            return value
        source = value[2:-1] if value.startswith("${") and value.endswith("}") else value
        return self._parsed(source)(scope)

    def _key(self, key: str, scope: Scope) -> Any:
        return self._evaluate(key, scope) if key.startswith(('"', "${")) else key

    def _parsed(self, source: str) -> Expression:
        return expression(source, functions_of(self.root))

    def _with(self, names: Mapping[str, Any]) -> Scope:
        return extended(self._look_up, names)

    def _look_up(self, name: str) -> Any:
        if name in ("var", "local", "module", "data"):
            return _Lazy(
                {"var": self.variable, "local": self._local, "module": self._outputs, "data": self._data}[name]
            )
        if name == "path":
            return {"module": str(self.folder.relative_to(self.root))}
        if name in self._blocks["resource"]:
            return _Lazy(lambda named: self._referred(name, named))
        raise ExpressionError(f"{self.address or 'root'}: {name!r} is not known")

    def variable(self, name: str) -> Any:
        """The value of a variable, or its default."""
        if name in self.inputs:
            return self.inputs[name]
        block = self._blocks["variable"].get(name)
        if block is None or "default" not in block:
            raise ExpressionError(f"{self.address or 'root'}: var.{name} is not given")
        return self._evaluate(block["default"], self._look_up)

    def _local(self, name: str) -> Any:
        if ("local", name) not in self._cache:
            self._cache["local", name] = self._evaluate(self._blocks["locals"][name], self._look_up)
        return self._cache["local", name]

    def _outputs(self, name: str) -> Any:
        return _Lazy(self._module(name).output)

    def _module(self, name: str) -> Module:
        if ("module", name) not in self._cache:
            block = self._blocks["module"][name]
            folder = (self.folder / self._evaluate(block["source"], self._look_up)).resolve()
            given = {key: value for key, value in block.items() if key not in (*HOW, *META, "source")}
            inputs = _LazyInputs(given, lambda value: self._evaluate(value, self._look_up))
            address = f"{self.address}module.{name}."
            self._cache["module", name] = Module(folder, inputs, self.root, address, self.project)
        found: Module = self._cache["module", name]
        return found

    def _referred(self, kind: str, name: str, of: str = "resource") -> Any:
        block, found = self._blocks[of][kind][name], self._instances(kind, name, of)
        return found if "for_each" in block else list(found.values()) if "count" in block else found[None]

    def _data(self, kind: str) -> Any:
        return _Lazy(lambda name: self._referred(kind, name, "data"))


class _Lazy:
    """``var``, ``local`` and the like: what is not asked for is not resolved."""

    def __init__(self, find: Any) -> None:
        self._find = find

    def __getitem__(self, name: str) -> Any:
        return self._find(name)


class _LazyInputs(Mapping[str, Any]):
    """A module's inputs, resolved when they are asked for: modules give each other theirs."""

    def __init__(self, given: Mapping[str, Any], evaluate: Any) -> None:
        self._given, self._evaluate = given, evaluate

    def __getitem__(self, name: str) -> Any:
        return self._evaluate(self._given[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def root_module(folder: Path, variables: Path, **changed: Any) -> Module:
    """The root in ``folder`` with the values in ``variables`` (a .tfvars file), of which some are ``changed``.

    Raises:
        ExpressionError: a variable is missing, or breaks its own rule.
    """
    values = {k: v for k, v in hcl2.loads(variables.read_text()).items() if k not in META}
    folder = folder.resolve()
    inputs = Module(folder, {}, folder).literals(values) | changed
    made = Module(folder, inputs, folder, project=str(inputs.get("project_id", "")))
    made.check()
    return made


def _read(folder: Path) -> Mapping[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {k: {} for k in ("resource", "data", "module", "variable", "output", "locals")}
    for path in sorted(folder.glob("*.tf")):
        document = hcl2.loads(path.read_text())
        for kind in found:
            for block in document.get(kind, []):
                for quoted, body in block.items():
                    if quoted in META:
                        continue
                    name = _bare(quoted)
                    if kind in ("resource", "data"):
                        inner = {_bare(n): b for n, b in body.items() if n not in META}
                        found[kind].setdefault(name, {}).update(inner)
                    elif name in found[kind]:
                        raise ExpressionError(f"{path}: {kind} {name!r} is there twice")
                    else:
                        found[kind][name] = body
    return found


def _bare(quoted: str) -> str:
    return quoted.strip('"')


def _is_blocks(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(i, Mapping) and "__is_block__" in i for i in value)
    )


def _pairs(collection: Any) -> list[tuple[Any, Any]]:
    if isinstance(collection, Mapping):
        return list(collection.items())
    return [(item, item) for item in (sorted(collection) if isinstance(collection, frozenset) else collection)]


def _nothing(name: str) -> Any:
    raise ExpressionError(f"{name!r}: a file of values holds no references")
