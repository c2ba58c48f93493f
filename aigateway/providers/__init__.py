"""Provider kinds: address, authorization, envelope, quirks, error classes."""

from collections.abc import Callable

from ..config import Provider
from .anthropic import Anthropic
from .antigravity import Antigravity
from .base import Kind
from .gemini import Gemini
from .glm import GLM
from .glm_claude import GLMClaude
from .openai import OpenAI


def _glm(config: Provider | None) -> Kind:
    """GLM by its Chat Completions, or where the configuration says so by its Claude form."""
    return GLMClaude(config) if config is not None and config.dialect == "claude" else GLM(config)


KINDS: dict[str, Callable[[Provider | None], Kind]] = {
    "openai": OpenAI,
    "glm": _glm,
    "antigravity": Antigravity,
    "gemini": Gemini,
    "anthropic": Anthropic,
}
"""The kinds that a provider may have, by name; each is made from the provider's configuration,
or from None for the kind as it is by default."""

__all__ = ["KINDS", "Kind"]
