"""Tools' names where a provider does not take the client's: a reversible map, made per request.

A name that must change keeps what can be kept of it and ends in a hash of the whole, so that two
names never become one and a conversation's history is renamed as its tools are. The way back is
`Rendered.renamed`; it is the answer's reader that goes it.
"""

from __future__ import annotations

import re
from hashlib import sha256

from ..events import ChatRequest, ToolUseBlock

_HASH = 8


class Names:
    """The names of one request's tools, for a provider that takes only those that ``allowed``
    matches wholly, at most ``longest`` characters."""

    def __init__(self, chat: ChatRequest, allowed: re.Pattern[str], longest: int) -> None:
        self._allowed = allowed
        self._longest = longest
        self._taken = {tool.name for tool in chat.tools} | {
            block.name
            for message in chat.messages
            for block in message.content
            if isinstance(block, ToolUseBlock)
        }
        self._names: dict[str, str] = {}
        self.renamed: dict[str, str] = {}

    def of(self, name: str) -> str:
        """``name`` as the provider takes it: itself, where it may."""
        if (known := self._names.get(name)) is not None:
            return known
        if len(name) <= self._longest and self._allowed.fullmatch(name):
            self._names[name] = name
            return name
        digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        kept = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        if not kept[:1].isalpha():
            kept = f"t_{kept}"
        for length in range(_HASH, len(digest)):
            other = f"{kept[: self._longest - length - 1]}_{digest[:length]}"
            if other not in self._taken:
                break
        self._taken.add(other)
        self._names[name] = other
        self.renamed[other] = name
        return other
