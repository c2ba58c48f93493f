"""Lists of models, in the form of each dialect that has one.

A model here is its name and the name of the provider that is asked for it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Models: TypeAlias = Sequence[tuple[str, str]]

# The gateway does not know when a model was made; both dialects want a date.
_CREATED = 0
_CREATED_AT = "1970-01-01T00:00:00Z"


def openai_models(models: Models) -> dict[str, object]:
    return {"object": "list", "data": [openai_model(name, owner) for name, owner in models]}


def openai_model(name: str, owner: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}


def claude_models(models: Models) -> dict[str, object]:
    names = [name for name, _ in models]
    return {
        "data": [claude_model(name, owner) for name, owner in models],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }


def claude_model(name: str, owner: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _CREATED_AT}


def gemini_models(models: Models) -> dict[str, object]:
    return {"models": [gemini_model(name, owner) for name, owner in models]}


def gemini_model(name: str, owner: str) -> dict[str, object]:
    """``supportedGenerationMethods`` are those that the gateway serves."""
    return {
        "name": f"models/{name}",
        "baseModelId": name,
        "version": "1",
        "displayName": name,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
    }
