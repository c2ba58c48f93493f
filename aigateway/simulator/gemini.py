"""The Gemini API as Google's server at generativelanguage.googleapis.com speaks it.

Pure. What it shares with Code Assist is in `google`. Gemini 3 gives its calls an id and
finishes in a chunk of its own; 2.5 does neither.
"""

from __future__ import annotations

from .answers import Call
from .generate_content import prompt_of
from .google import REQUEST, TYPE, GoogleWire, Part
from .google_rules import unknown_names
from .wire import Asked, Response

_SERVICE = "generativelanguage.googleapis.com"
KNOWN = REQUEST | {"serviceTier", "service_tier", "store"}
COUNTED = KNOWN | {"generateContentRequest"}


class GeminiWire(GoogleWire):
    issuer = "gemini"

    def read(self, body: bytes, *, model: str, stream: bool, serial: int, created: int) -> Asked:
        value = self.decoded(body)
        self.refuse_unknown(unknown_names(value, KNOWN))
        return self.asked_in(value, model=model, stream=stream, serial=serial, created=created)

    def total_tokens(self, body: bytes) -> int:
        """The answer to ``countTokens``: of contents, or of a whole request; raises `Refused`."""
        value = self.decoded(body)
        self.refuse_unknown(unknown_names(value, COUNTED))
        return prompt_of(*self.request_in(value.get("generateContentRequest", value))).tokens

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        return (("server", "scaffolding on HTTPServer2"),)

    def unauthorized(self) -> Response:
        """A bad key is a bad request here, with the reason in the details."""
        message = "API key not valid. Please pass a valid API key."
        details: list[dict[str, object]] = [
            {
                "@type": TYPE + "ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": _SERVICE},
            },
            {"@type": TYPE + "LocalizedMessage", "locale": "en-US", "message": message},
        ]
        return self.error(400, "INVALID_ARGUMENT", message, details)

    def unregistered(self) -> Response:
        """What a caller without any key is told."""
        message = (
            "Method doesn't allow unregistered callers (callers without established identity). Please use "
            "API Key or other form of API consumer identity to call this API."
        )
        return self.error(403, "PERMISSION_DENIED", message)

    def without_contents(self) -> Response:
        message = "* GenerateContentRequest.contents: contents is not specified\n"
        return self.error(400, "INVALID_ARGUMENT", message)

    def unknown_model(self, model: str) -> Response:
        message = (
            f"models/{model} is not found for API version v1beta, or is not supported for generateContent. "
            "Call ModelService.ListModels to see the list of available models and their supported methods."
        )
        return self.error(404, "NOT_FOUND", message)

    def busy(self, retry_after: int | None) -> Response:
        message = "You exceeded your current quota, please check your plan and billing details."
        quota = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
        details: list[dict[str, object]] = [
            {"@type": TYPE + "QuotaFailure", "violations": [{"quotaId": quota}]},
        ]
        if retry_after is not None:
            message += f"\nPlease retry in {retry_after}s."
            details.append({"@type": TYPE + "RetryInfo", "retryDelay": f"{retry_after}s"})
        return self.error(429, "RESOURCE_EXHAUSTED", message, details, retry_after)

    def chunk(
        self, asked: Asked, parts: list[Part], usage: dict[str, object], finish: str | None = None
    ) -> dict[str, object]:
        chunk = super().chunk(asked, parts, usage, finish)
        match chunk:
            case {"candidates": [dict() as candidate]} if finish and parts and "functionCall" in parts[-1]:
                candidate["finishMessage"] = "Model generated function call(s)."
        return chunk

    def call(self, asked: Asked, call: Call) -> Part:
        part = super().call(asked, call)
        if not self.closes_apart(asked) and isinstance(function_call := part["functionCall"], dict):
            del function_call["id"]
        return part

    def closes_apart(self, asked: Asked) -> bool:
        return asked.model.startswith("gemini-3")
