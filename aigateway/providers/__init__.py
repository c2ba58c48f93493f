"""Provider kinds: address, authorization, envelope, quirks, error classes."""

from .antigravity import Antigravity
from .base import Kind
from .gemini import Gemini
from .glm import GLM
from .openai import OpenAI

KINDS: dict[str, Kind] = {kind.name: kind for kind in (OpenAI(), GLM(), Antigravity(), Gemini())}
"""The kinds that a provider may have, by name."""

__all__ = ["KINDS", "Kind"]
