"""Expressions of Terraform's language, parsed into functions of a scope: as much of it as our files use.

What is not understood is refused by its text, so that no test passes because something was not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Looks a name up: ``var``, ``local``, ``each``, a type of resource, ...
Scope = Callable[[str], Any]
Expression = Callable[[Scope], Any]

TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<quote>")"""
    r"""|(?P<op>&&|\|\||==|!=|<=|>=|=>|\.\.\.|[-+*/%<>!?:.,=(){}\[\]]))"""
)
BINARY: tuple[Mapping[str, Callable[[Any, Any], Any]], ...] = (
    {"==": lambda a, b: a == b, "!=": lambda a, b: a != b},
    {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b},
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {"*": lambda a, b: a * b, "/": lambda a, b: a / b, "%": lambda a, b: a % b},
)
CONSTANTS = {"true": True, "false": False, "null": None}
ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class ExpressionError(ValueError):
    """What is not understood, with its text."""


def expression(source: str, functions: Mapping[str, Callable[..., Any]]) -> Expression:
    """``source`` as a function of a scope.

    Raises:
        ExpressionError: it is not of the language, or of a part of it that nobody here uses.
    """
    parser = Parser(source, functions)
    made = parser.conditional()
    if parser.peek():
        raise parser.error(f"{parser.peek()!r} is left over")
    return made


class Parser:
    """Recursive descent, one method a rule; :func:`expression` is the way in."""

    def __init__(self, source: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._source, self._functions, self._at = source, functions, 0

    def error(self, problem: str) -> ExpressionError:
        """What is wrong, and where."""
        return ExpressionError(f"{problem}, at {self._at} of: {self._source}")

    def peek(self) -> str:
        """The next token, a quote for a string; empty at the end."""
        if not self._source[self._at :].strip():
            return ""
        found = TOKEN.match(self._source, self._at)
        if not found:
            raise self.error("unknown character")
        return found[found.lastgroup or 0]

    def take(self, wanted: str = "") -> str:
        """The next token, consumed; another than ``wanted`` is an error."""
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise self.error(f"{token or 'the end'!r} instead of {wanted or 'more'!r}")
        found = TOKEN.match(self._source, self._at)
        assert found
        self._at = found.end()
        return token

    def accept(self, token: str) -> bool:
        """Whether ``token`` came next; then it is consumed."""
        if self.peek() != token:
            return False
        self.take()
        return True

    def conditional(self) -> Expression:
        """``condition ? this : that``, of which one side is evaluated."""
        condition = self._either()
        if not self.accept("?"):
            return condition
        this = self.conditional()
        self.take(":")
        that = self.conditional()
        return lambda s: this(s) if condition(s) else that(s)

    def _either(self) -> Expression:
        left = self._both()
        while self.accept("||"):
            left = _or(left, self._both())
        return left

    def _both(self) -> Expression:
        left = self._binary(0)
        while self.accept("&&"):
            left = _and(left, self._binary(0))
        return left

    def _binary(self, level: int) -> Expression:
        if level == len(BINARY):
            return self._unary()
        left = self._binary(level + 1)
        while (operator := BINARY[level].get(self.peek())) is not None:
            self.take()
            left = _apply(operator, left, self._binary(level + 1))
        return left

    def _unary(self) -> Expression:
        if self.accept("!"):
            wrong = self._unary()
            return lambda s: not wrong(s)
        if self.accept("-"):
            number = self._unary()
            return lambda s: -number(s)
        return self._postfix(self._primary())

    def _postfix(self, made: Expression) -> Expression:
        while (following := self.peek()) in (".", "["):
            self.take()
            if following == ".":
                made = _attribute(made, self.take())
                continue
            key = self.conditional()
            self.take("]")
            made = _item(made, key)
        return made

    def _primary(self) -> Expression:
        first = self.take()
        if first == '"':
            return self._template()
        if first == "(":
            made = self.conditional()
            self.take(")")
            return made
        if first == "[":
            return self._list()
        if first == "{":
            return self._object()
        if first[0].isdigit():
            number = float(first) if "." in first else int(first)
            return lambda _: number
        if first in CONSTANTS:
            return lambda _: CONSTANTS[first]
        if not re.match(r"[A-Za-z_]", first):
            raise self.error(f"{first!r} begins no expression")
        return self._call(first) if self.accept("(") else lambda s: s(first)

    def _call(self, name: str) -> Expression:
        if name not in self._functions:
            raise self.error(f"function {name!r} is not known here")
        function, arguments, spread = self._functions[name], [], False
        while not self.accept(")"):
            arguments.append(self.conditional())
            spread = self.accept("...")
            if self.peek() != ")":
                self.take(",")
        if name == "can":
            return _can(arguments[0])
        if spread:
            return lambda s: function(*(a(s) for a in arguments[:-1]), *arguments[-1](s))
        return lambda s: function(*(a(s) for a in arguments))

    def _list(self) -> Expression:
        if self.accept("for"):
            return self._for("]")
        items = []
        while not self.accept("]"):
            items.append(self.conditional())
            if self.peek() != "]":
                self.take(",")
        return lambda s: [item(s) for item in items]

    def _object(self) -> Expression:
        if self.accept("for"):
            return self._for("}")
        items: list[tuple[Expression, Expression]] = []
        while not self.accept("}"):
            items.append((self._key(), self.conditional()))
            self.accept(",")
        return lambda s: {key(s): value(s) for key, value in items}

    def _key(self) -> Expression:
        # A bare name is the key itself, not what it stands for.
        at = self._at
        name = self.take()
        if self.peek() not in ("=", ":") or name == '"':
            self._at = at
            made = self.conditional()
        else:
            made = _constant(name)
        if not self.accept("="):
            self.take(":")
        return made

    def _for(self, end: str) -> Expression:
        names = [self.take()]
        if self.accept(","):
            names.append(self.take())
        self.take("in")
        source = self.conditional()
        self.take(":")
        first = self.conditional()
        second = self.conditional() if end == "}" and self.accept("=>") else None
        condition = self.conditional() if self.accept("if") else _constant(True)
        self.take(end)

        def scopes(outer: Scope) -> Iterable[Scope]:
            for inner in _bound(names, source(outer), outer):
                if condition(inner):
                    yield inner

        if second is None:
            return lambda s: [first(inner) for inner in scopes(s)]
        return lambda s: {first(inner): second(inner) for inner in scopes(s)}

    def _template(self) -> Expression:
        """The rest of a string, whose opening quote is consumed: text and ``${...}``."""
        parts: list[Expression] = []
        text = ""
        while True:
            here = self._source[self._at : self._at + 3]
            if not here:
                raise self.error("the string does not end")
            if here == "$${":
                text, self._at = text + "${", self._at + 3
            elif here.startswith("${"):
                self._at += 2
                parts += [_constant(text), self.conditional()]
                text = ""
                self.take("}")
            elif here[0] == "\\":
                if here[1] not in ESCAPES:
                    raise self.error(f"unknown escape {here[:2]}")
                text, self._at = text + ESCAPES[here[1]], self._at + 2
            elif here[0] == '"':
                self._at += 1
                break
            else:
                text, self._at = text + here[0], self._at + 1
        if len(parts) == 2 and not text:
            # "${x}" is x, whatever its type.
            return lambda s: parts[1](s) if parts[0](s) == "" else _text(parts[0](s)) + _text(parts[1](s))
        return lambda s: "".join(_text(part(s)) for part in [*parts, _constant(text)])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int | float):
        return str(value)
    raise ExpressionError(f"{value!r} has no place in a string")


def _constant(value: Any) -> Expression:
    return lambda _: value


def _or(left: Expression, right: Expression) -> Expression:
    return lambda s: left(s) or right(s)


def _and(left: Expression, right: Expression) -> Expression:
    return lambda s: left(s) and right(s)


def _apply(operator: Callable[[Any, Any], Any], left: Expression, right: Expression) -> Expression:
    return lambda s: operator(left(s), right(s))


def _can(attempt: Expression) -> Expression:
    def made(scope: Scope) -> bool:
        try:
            attempt(scope)
        except (ExpressionError, KeyError, IndexError):
            return False
        return True

    return made


def _attribute(of: Expression, name: str) -> Expression:
    return lambda s: of(s)[name]


def _item(of: Expression, key: Expression) -> Expression:
    def made(scope: Scope) -> Any:
        found, at = of(scope), key(scope)
        return found[int(at)] if isinstance(found, list) else found[at]

    return made


def _bound(names: list[str], collection: Any, outer: Scope) -> Iterable[Scope]:
    if isinstance(collection, Mapping):
        pairs: Iterable[tuple[Any, Any]] = collection.items()
    elif isinstance(collection, frozenset):
        pairs = ((item, item) for item in sorted(collection))
    else:
        pairs = enumerate(collection)
    for key, value in pairs:
        yield extended(outer, dict(zip(names, (key, value) if len(names) == 2 else (value,), strict=True)))


def extended(outer: Scope, names: Mapping[str, Any]) -> Scope:
    """``outer`` with more names, which hide its own."""
    return lambda name: names[name] if name in names else outer(name)
