"""Secrets as a type: a key that cannot be printed by accident."""

from __future__ import annotations

from collections.abc import Iterable


class Secret:
    """A credential. ``repr`` and ``str`` are masked; ``reveal()`` is for the one line that
    puts it into a header or a form."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """``text`` with every one of ``secrets`` replaced by ``***``.

    Providers quote keys in their error messages. Values under 6 characters are left
    alone: they cannot be secrets, and would blank out ordinary words.
    """
    # The longest first: one that begins another would leave the other's rest behind.
    for value in sorted([secret.reveal() for secret in secrets], key=len, reverse=True):
        if len(value) >= 6 and value in text:
            text = text.replace(value, "***")
    return text
