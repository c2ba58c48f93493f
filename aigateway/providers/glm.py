"""GLM: Zhipu's models at z.ai and bigmodel.cn.

OpenAI's dialect at an address of its own, with error codes of its own: strings, which
often say more than the HTTP status they come with (1113, no balance, comes as a 429).
The codes are those of the "Error codes" page of docs.z.ai.
"""

from __future__ import annotations

from ..config import Provider
from ..dialects.openai.servers import GLM as GLM_PROFILE
from ..errors import (
    AccountExhausted,
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamUnauthorized,
)
from . import waiting
from .openai import ErrorBody, OpenAI

_CREDENTIAL = {"1000", "1001", "1002", "1003", "1004", "1100", "1120", "1121", "1220"}
_ACCOUNT = {
    "1110",
    "1111",
    "1112",
    "1304",
    "1309",
    "1313",
}  # inactive, none, locked, daily, expired, fair use
_BALANCE = "1113"
_PLAN_LACKS_MODEL = "1311"
_WINDOW = {"1308", "1310"}  # five-hour, weekly and monthly limits; the text says until when
_RATE = {"1302", "1303"}
_OVERLOADED = {"1305", "1312"}
_FAULT = {"1200", "1230", "1234"}
_UNSAFE = {"1300", "1301"}
_NO_MODEL = {"1211"}
CHINA = 8.0
"""Hours ahead of UTC: the dates in the limits' texts carry no zone, and are the platform's own."""

_TOO_LONG = {"1261"}
_BAD_REQUEST = {"1210", "1212", "1213", "1214", "1215", "1221", "1222", "1231"}


class GLM(OpenAI):
    """Implements `aigateway.providers.base.Kind`. For the mainland platform set ``base_url`` to
    ``https://open.bigmodel.cn/api/paas/v4``, for the coding plan to ``.../api/coding/paas/v4``."""

    name = "glm"
    base_urls = ("https://api.z.ai/api/paas/v4",)
    server = "glm"
    profile = GLM_PROFILE

    def _server(self, config: Provider) -> str:
        return self.server

    def error_of(
        self, status: int, told: ErrorBody, retry_after: float | None, now: float | None
    ) -> UpstreamError:
        code = told.code
        message = told.message or f"GLM answered with error {code or status}"
        if code in _CREDENTIAL:
            return UpstreamUnauthorized(message, provider_status=status)
        if code == _BALANCE:
            return AccountExhausted(message, status=402, provider_status=status)
        if code in _ACCOUNT:
            return AccountExhausted(message, provider_status=status)
        if code == _PLAN_LACKS_MODEL:
            return AccountExhausted(message, scope="model", provider_status=status)
        if code in _WINDOW:
            wait = waiting.from_text(message, now, utc_offset=CHINA)
            if wait is None:
                wait = waiting.latest_date(message, now, utc_offset=CHINA)
            return AccountExhausted(message, retry_after=wait, code=None, provider_status=status)
        if code in _RATE:
            return UpstreamBusy(message, retry_after=retry_after, provider_status=status)
        if code in _OVERLOADED:
            return UpstreamBusy(
                message, overloaded=True, retry_after=retry_after, scope="request", provider_status=status
            )
        if code in _UNSAFE:
            return UpstreamRefused(message, status=400, code="content_filter")
        if code in _NO_MODEL:
            return UpstreamRefused(message, status=404, code="model_not_found")
        if code in _TOO_LONG:
            return UpstreamRefused(message, status=400, code="context_length_exceeded")
        if code in _BAD_REQUEST:
            return UpstreamRefused(message, status=400, code=code)
        if code in _FAULT:
            return UpstreamFailed(message, provider_status=status)
        return super().error_of(status, told, retry_after, now)
