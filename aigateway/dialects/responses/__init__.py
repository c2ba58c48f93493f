"""OpenAI's Responses dialect, as a client speaks it; and as OpenAI itself does, to such a client."""

from ..base import ClientDialect
from ..openai.errors import render_error
from .parse import parse_request
from .writer import ResponsesWriter, render_reply

RESPONSES = ClientDialect(
    "responses", parse_request, ResponsesWriter, render_reply, render_error, "x-request-id"
)

__all__ = ["RESPONSES"]
