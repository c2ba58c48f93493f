"""Wire formats, one module or folder each; they meet only in `aigateway.events`."""

from .base import ClientDialect
from .claude import CLAUDE
from .gemini import GEMINI
from .openai import OPENAI
from .responses import RESPONSES

DIALECTS: dict[str, ClientDialect] = {
    dialect.name: dialect for dialect in (CLAUDE, OPENAI, RESPONSES, GEMINI)
}
"""The dialects that clients may speak, by name."""

__all__ = ["CLAUDE", "DIALECTS", "GEMINI", "OPENAI", "RESPONSES", "ClientDialect"]
