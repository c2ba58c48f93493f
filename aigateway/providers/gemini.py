"""The Gemini API: the model in the path, the key in a header."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from .. import jsontext
from ..dialects.base import Rendered
from ..dialects.gemini import render_request
from ..dialects.gemini.kept import body_of
from ..events import ChatRequest
from .base import Credential, UpstreamRequest
from .google import Google


class Gemini(Google):
    """Implements `aigateway.providers.base.Kind`."""

    name = "gemini"
    base_urls = ("https://generativelanguage.googleapis.com/v1beta",)

    def render(self, chat: ChatRequest, model: str, credential: Credential, *, stream: bool) -> Rendered:
        if chat.is_all("gemini"):
            return Rendered(body_of(chat, model), kept=True)
        body, rendered = render_request(chat, model, antigravity=False)
        return msgspec.structs.replace(rendered, body=jsontext.encode(body))

    def request(
        self, base_url: str, model: str, credential: Credential, rendered: Rendered, *, stream: bool
    ) -> UpstreamRequest:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return _post(base_url, model, method, credential, rendered.body)

    def count(
        self, base_url: str, model: str, credential: Credential, chat: ChatRequest
    ) -> UpstreamRequest | None:
        rendered = self.render(chat, model, credential, stream=False)
        asked = msgspec.json.decode(rendered.body, type=dict[str, msgspec.Raw])
        # ``contents`` alone would leave out the instruction and the tools.
        request = {**asked, "model": f"models/{model.removeprefix('models/')}"}
        body = jsontext.encode({"generateContentRequest": request})
        return _post(base_url, model, "countTokens", credential, body)


def _post(base_url: str, model: str, method: str, credential: Credential, body: bytes) -> UpstreamRequest:
    # One segment: a name with a slash in it must not lead anywhere else.
    segment = quote(model.removeprefix("models/"), safe="")
    headers = (
        (b"content-type", b"application/json"),
        # Never as ``?key=``: URLs end up in logs.
        (b"x-goog-api-key", credential.token.reveal().encode()),
    )
    return UpstreamRequest(f"{base_url}/models/{segment}:{method}".encode(), headers, body)
