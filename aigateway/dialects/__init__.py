"""Wire formats, one module or folder each; they meet only in `aigateway.events`."""

from .base import ClientDialect
from .claude import CLAUDE
from .openai import OPENAI

DIALECTS: dict[str, ClientDialect] = {dialect.name: dialect for dialect in (CLAUDE, OPENAI)}
"""The dialects that clients may speak, by name."""

__all__ = ["CLAUDE", "DIALECTS", "OPENAI", "ClientDialect"]
