"""GLM by its Claude form: Anthropic's dialect, GLM's models, keys and error codes.

The code stands in an error's ``type`` (``{"type":"error","error":{"type":"1113","message":...}}``, as
quoted in https://github.com/anthropics/claude-code/issues/9201), or in its ``code``. What the codes
mean is `glm`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Provider
from ..errors import UpstreamError
from . import waiting
from .anthropic import Anthropic, ErrorBody
from .glm import GLM
from .openai import ErrorBody as GLMErrorBody


class GLMClaude(Anthropic):
    """Implements `aigateway.providers.base.Kind`. For the mainland platform set ``base_url`` to
    ``https://open.bigmodel.cn/api/anthropic/v1``."""

    name = "glm"
    base_urls = ("https://api.z.ai/api/anthropic/v1",)

    def __init__(self, config: Provider | None = None) -> None:
        super().__init__(config)
        self._codes = GLM(config)

    def error_of(
        self, status: int, told: ErrorBody, headers: Mapping[str, str], now: float | None
    ) -> UpstreamError:
        code = next((word for word in (told.type, told.code) if word.isdecimal()), "")
        if not code:
            return super().error_of(status, told, headers, now)
        wait = None if now is None else waiting.retry_after(headers, now)
        return self._codes.error_of(status, GLMErrorBody(message=told.message, code=code), wait, now)

    def authorization(self, token: str, *, oauth: bool) -> tuple[bytes, bytes]:
        return b"Authorization", f"Bearer {token}".encode()
