"""TOML tables read key by key, with every mistake noted at its place.

What the keys mean is `loading`'s business. A reader goes on after a mistake, so that all
of them are told at once; a value that was wrong reads as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from ..secret import Secret
from . import values
from .lines import line_numbers

T = TypeVar("T")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "a table",
}


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` holds every mistake, each with its
    place; no message repeats a secret."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Source:
    """One configuration on its way in: what its values may refer to, and what was found.

    ``read_file`` gives the text of a file that a ``file:`` value names, or raises ``OSError``.
    """

    def __init__(
        self, origin: str, text: str, environ: Mapping[str, str], read_file: Callable[[str], str]
    ) -> None:
        self._origin = origin
        self._lines = line_numbers(text)
        self._environ = environ
        self._read_file = read_file
        self.problems: list[str] = []
        self.notes: list[str] = []

    def problem(self, place: str, message: str) -> None:
        self.problems.append(self._at(place, message))

    def note(self, place: str, message: str) -> None:
        self.notes.append(self._at(place, message))

    def resolve(self, place: str, value: str) -> str | None:
        """``value``, or what it stands for: ``env:NAME`` or ``file:PATH``."""
        kind, colon, name = value.partition(":")
        if not colon or kind not in ("env", "file"):
            return value
        if kind == "env":
            if name in self._environ:
                return self._environ[name]
            # The key itself may stand there by mistake: only what can be a name is repeated.
            if _VARIABLE.fullmatch(name):
                self.problem(place, f"the environment variable {name} is not set")
            else:
                self.problem(place, "what follows env: is no variable's name")
            return None
        try:
            return self._read_file(name).rstrip("\r\n")
        except OSError as error:
            self.problem(place, f"the file {name} cannot be read: {error.strerror or error}")
        except ValueError:
            self.problem(place, f"the file {name} is not UTF-8 text")
        return None

    def _at(self, place: str, message: str) -> str:
        line = self._line(place)
        origin = f"{self._origin}:{line}" if line else self._origin
        return f"{origin}: {place}: {message}" if place else f"{origin}: {message}"

    def _line(self, place: str) -> int | None:
        while place and place not in self._lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return self._lines.get(place)


class Table:
    """One table. Each method takes a key by its name and type; `close` reports those that
    nobody took."""

    def __init__(self, values: Mapping[str, object], place: str, source: Source) -> None:
        self._values = values
        self._source = source
        self._known: list[str] = []
        self.place = place

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def problem(self, name: str, message: str) -> None:
        """A mistake in the key ``name``, or in the table where ``name`` is empty."""
        self._source.problem(self.at(name) if name else self.place, message)

    def note(self, name: str, message: str) -> None:
        self._source.note(self.at(name), message)

    def close(self) -> None:
        for name in self._values:
            if name not in self._known:
                expected = ", ".join(sorted(self._known))
                self.problem(name, f"unknown key{values.nearest(name, self._known)}; known: {expected}")

    def word(self, name: str, default: str = "") -> str:
        """A string that is taken as it stands."""
        value = self._take(name, str)
        if value == "":
            self.problem(name, "is empty")
        return value or default

    def text(self, name: str, default: str = "") -> str:
        """A string, or what its ``env:`` or ``file:`` stands for."""
        value = self._take(name, str)
        if value is None:
            return default
        found = self._source.resolve(self.at(name), value)
        if found is not None and not found.strip():
            self.problem(name, self._emptiness(value))
        return found or default

    def own_name(self, default: str, taken: set[str]) -> str:
        """The key ``name``, which no other table of the same list may have."""
        found = self.word("name", default)
        self.check("name", values.name, found)
        if found in taken:
            self.problem("name", f'"{found}" is the name of another one in the same list')
        taken.add(found)
        return found

    def check(self, name: str, check: Callable[[str], object], value: str) -> None:
        """Note what ``check`` has against a value that was read already."""
        try:
            check(value)
        except ValueError as error:
            self.problem(name, str(error))

    def checked(self, name: str, check: Callable[[str], T]) -> T | None:
        """A string after ``check``, which raises ``ValueError`` for a bad one."""
        value = self.text(name)
        if not value:
            return None
        try:
            return check(value)
        except ValueError as error:
            self.problem(name, str(error))
            return None

    def secret(self, name: str) -> Secret | None:
        """A credential, fit to stand in a header."""
        value = self.text(name)
        if not value.strip():
            return None
        if not value.isascii() or not value.isprintable() or " " in value:
            self.problem(name, "holds a space, a line end or another character that no credential holds")
            return None
        return Secret(value)

    def choice(self, name: str, known: Collection[str], default: str = "") -> str:
        value = self.word(name)
        if value and value not in known:
            expected = ", ".join(f'"{word}"' for word in known)
            self.problem(name, f'"{value}" is not known{values.nearest(value, known)}; expected {expected}')
            return default
        return value or default

    def flag(self, name: str, default: bool) -> bool:
        value = self._take(name, bool)
        return default if value is None else value

    def words(self, name: str) -> tuple[str, ...]:
        """An array of strings that are taken as they stand."""
        found = []
        for index, value in enumerate(self._take(name, list) or ()):
            if isinstance(value, str) and value:
                found.append(value)
            else:
                said = "an empty string" if value == "" else _type(value)
                self.problem(f"{name}[{index}]", f"expected a string, got {said}")
        return tuple(found)

    def strings(self, name: str) -> dict[str, str]:
        """A table of names and strings, taken as they stand."""
        found = {}
        for key, value in (self._take(name, dict) or {}).items():
            if isinstance(value, str) and value:
                found[key] = value
            else:
                said = "an empty string" if value == "" else _type(value)
                self.problem(f"{name}.{key}", f"expected a string, got {said}")
        return found

    def resolve(self, name: str, value: str) -> str | None:
        """What a value below ``name`` stands for."""
        return self._source.resolve(self.at(name), value)

    def table(self, name: str) -> Table:
        """The table ``name``, empty when absent."""
        return Table(self._take(name, dict) or {}, self.at(name), self._source)

    def tables(self, name: str) -> list[Table]:
        """The tables in the array ``name``."""
        found = []
        for index, value in enumerate(self._take(name, list) or ()):
            place = f"{name}[{index}]"
            if isinstance(value, dict):
                found.append(Table(value, self.at(place), self._source))
            else:
                self.problem(place, f"expected a table, got {_type(value)}")
        return found

    def tables_by_name(self) -> dict[str, Table]:
        """Every key as a table."""
        self._known += self._values
        found = {}
        for name, value in self._values.items():
            if isinstance(value, dict):
                found[name] = Table(value, self.at(name), self._source)
            else:
                self.problem(name, f"expected a table, got {_type(value)}")
        return found

    def numbers(self, record: type[msgspec.Struct]) -> dict[str, Any]:
        """What the table sets of the fields of ``record`` that are numbers with a bound."""
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(record):
            if get_origin(field.type) is not Annotated:
                continue
            kind, bounds = get_args(field.type)
            self._known.append(field.name)
            if field.name not in self._values:
                continue
            value = self._values[field.name]
            try:
                # Not a number is above nothing, and so outside of all bounds.
                found[field.name] = msgspec.convert(value, field.type)
            except msgspec.ValidationError:
                self.problem(field.name, f"expected {_expected(kind, bounds)}, got {_number(value)}")
        return found

    def all_numbers(self, record: type[msgspec.Struct]) -> dict[str, Any]:
        """The same, for a table that has nothing else."""
        found = self.numbers(record)
        self.close()
        return found

    def _take(self, name: str, type: type[T]) -> T | None:
        self._known.append(name)
        value = self._values.get(name)
        if value is None or isinstance(value, type):
            return value
        self.problem(name, f"expected {_TYPES[type]}, got {_type(value)}")
        return None

    @staticmethod
    def _emptiness(value: str) -> str:
        kind, _, name = value.partition(":")
        if kind == "env":
            return f"the environment variable {name} is empty"
        if kind == "file":
            return f"the file {name} is empty"
        return "is empty"


def _type(value: object) -> str:
    return _TYPES.get(type(value), "a date or time")


def _number(value: object) -> str:
    if isinstance(value, float) or (type(value) is int and abs(value) < 2**63):
        return str(value)
    return _type(value)


def _expected(kind: type, bounds: msgspec.Meta) -> str:
    least = f"above {bounds.gt}" if bounds.gt is not None else f"from {bounds.ge}"
    return f"{_TYPES[kind]} {least} to {bounds.le}"
