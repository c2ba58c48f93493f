"""The Gemini API: the model in the path, the key in a header."""

from __future__ import annotations

from urllib.parse import quote

from .. import jsontext
from ..dialects.base import Rendered
from ..dialects.gemini import render_request
from ..events import ChatRequest
from .base import Credential, UpstreamRequest
from .google import Google


class Gemini(Google):
    """Implements `aigateway.providers.base.Kind`."""

    name = "gemini"
    base_urls = ("https://generativelanguage.googleapis.com/v1beta",)

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        body, dropped = render_request(chat, model, antigravity=False)
        return Rendered(jsontext.encode(body), dropped)

    def request(
        self, base_url: str, model: str, credential: Credential, body: bytes, *, stream: bool
    ) -> UpstreamRequest:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        # One segment: a name with a slash in it must not lead anywhere else.
        segment = quote(model.removeprefix("models/"), safe="")
        headers = (
            (b"content-type", b"application/json"),
            # Never as ``?key=``: URLs end up in logs.
            (b"x-goog-api-key", credential.token.reveal().encode()),
        )
        return UpstreamRequest(f"{base_url}/models/{segment}:{method}".encode(), headers, body)
