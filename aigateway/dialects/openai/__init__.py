"""OpenAI's Chat Completions dialect, as a client and as most providers speak it."""

from ..base import ClientDialect
from .errors import render_error
from .parse import parse_request
from .writer import OpenAIWriter, render_reply

OPENAI = ClientDialect("openai", parse_request, OpenAIWriter, render_reply, render_error, "x-request-id")

__all__ = ["OPENAI"]
