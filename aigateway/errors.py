"""What can go wrong, as one tree.

    GatewayError                     status   retryable
    |- MalformedRequest              400      no      the client's JSON, or a field in it; names the field
    |- Unauthorized                  401      no      the client's key
    |- Forbidden                     403      no      the client's key may not do this
    |- UnknownModel                  404      no      names the models there are
    |- UnknownPath                   404      no      names the endpoints there are
    |- MethodNotAllowed              405      no
    |- SlowRequest                   408      no      the client did not send its request in time
    |- TooLarge                      413      no
    |- UnsupportedMediaType          415      no
    |- HostNotAllowed                421      no
    |- LimitReached                  429      no      the client's own limit; carries retry_after
    |- HeadTooLarge                  431      no
    |- Overloaded, Stopping          503      no
    |- BudgetUnknown                 503      no      what the client's key has used cannot be told
    |- InternalError                 500      no      a fault of the gateway's own
    '- UpstreamError
       |- UpstreamRefused            theirs   no      4xx: their status and message
       |- UpstreamBusy               429/529  yes     carries retry_after and what it applies to
       |- UpstreamFailed             502/504  yes     5xx
       |- AccountExhausted           429/402  yes     the account is set aside, the next one is tried
       |- UpstreamUnauthorized       502      yes     the account is at fault, not the client
       |- UpstreamUnreachable        502      yes     DNS, connect, TLS, no response at all
       |- UpstreamSilent             504      yes     one of the limits; says which
       |- UpstreamTruncated          502      yes     ended without its end marker
       '- UpstreamGarbled            502      yes     not what its dialect promises

A class says what happened; a dialect's ``render_error`` says it to a client. Messages
name the thing and the remedy, and hold no key and no prompt. ``retryable`` means that
another account or target may do better; nothing is tried again after the commit point.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .secret import Secret

Scope = Literal["model", "account", "request"]


class GatewayError(Exception):
    """The root. ``param`` names the field of the client's request at fault, ``code`` is
    the short word that OpenAI's dialect has for an error, ``retry_after`` is in seconds."""

    kind: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    status: int = 500

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message  # not args: the message may have been masked since


class MalformedRequest(GatewayError):
    kind = "malformed_request"
    status = 400


class Unauthorized(GatewayError):
    kind = "unauthorized"
    status = 401


class Forbidden(GatewayError):
    kind = "forbidden"
    status = 403


class UnknownModel(GatewayError):
    kind = "unknown_model"
    status = 404


class UnknownPath(GatewayError):
    kind = "unknown_path"
    status = 404


class MethodNotAllowed(GatewayError):
    """``allowed`` lists the methods that the path takes."""

    kind = "method_not_allowed"
    status = 405

    def __init__(self, message: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class SlowRequest(GatewayError):
    kind = "slow_request"
    status = 408


class TooLarge(GatewayError):
    kind = "too_large"
    status = 413


class UnsupportedMediaType(GatewayError):
    kind = "unsupported_media_type"
    status = 415


class HostNotAllowed(GatewayError):
    kind = "host_not_allowed"
    status = 421


class LimitReached(GatewayError):
    kind = "limit_reached"
    status = 429


class HeadTooLarge(GatewayError):
    kind = "head_too_large"
    status = 431


class InternalError(GatewayError):
    pass


class Overloaded(GatewayError):
    kind = "overloaded"
    status = 503


class BudgetUnknown(Overloaded):
    kind = "budget_unknown"


class Stopping(GatewayError):
    kind = "stopping"
    status = 503


class UpstreamError(GatewayError):
    """Anything that a provider did, or did not do.

    ``provider_status`` is the provider's own HTTP status where there was one.
    ``provider_request_id`` is the provider's name for the request; for the outcome only.
    """

    kind = "upstream_error"
    retryable = True
    status = 502

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        provider_status: int | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after=retry_after)
        self.provider_status = provider_status
        self.provider_request_id: str | None = None


class UpstreamRefused(UpstreamError):
    """The provider says that the request itself is wrong. ``status`` is theirs (4xx).

    ``code`` is normalised where a dialect has a word for the case:
    ``context_length_exceeded``, ``model_not_found``, ``content_filter``.
    """

    kind = "refused"
    retryable = False

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, param=param, code=code, provider_status=status)
        self.status = status


class UpstreamBusy(UpstreamError):
    """Rate limited (``overloaded`` false, 429) or out of capacity (true, 529).

    ``scope`` says what should rest: this account for this model, the whole account, or
    nothing (``request``: the request alone was too big for the limit). ``reset`` means
    that ``retry_after`` is a stated quota reset, to be honoured without the usual cap.
    """

    kind = "busy"

    def __init__(
        self,
        message: str,
        *,
        overloaded: bool = False,
        retry_after: float | None = None,
        reset: bool = False,
        scope: Scope = "model",
        code: str | None = None,
        provider_status: int | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after=retry_after, provider_status=provider_status)
        self.status = 529 if overloaded else 429
        self.overloaded = overloaded
        self.reset = reset
        self.scope: Scope = scope


class UpstreamFailed(UpstreamError):
    """A fault at the provider. ``timed_out`` (504): it says that something behind it was slow."""

    kind = "failed"

    def __init__(self, message: str, *, timed_out: bool = False, provider_status: int | None = None) -> None:
        super().__init__(message, provider_status=provider_status)
        self.status = 504 if timed_out else 502


class AccountExhausted(UpstreamError):
    """The account has no balance or quota left (402), or its plan lacks this (429).

    ``retry_after`` is the stated reset, if there was one; ``scope`` as in `UpstreamBusy`.
    """

    kind = "exhausted"
    status = 429

    def __init__(
        self,
        message: str,
        *,
        status: Literal[402, 429] = 429,
        retry_after: float | None = None,
        scope: Scope = "account",
        code: str | None = "insufficient_quota",
        provider_status: int | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after=retry_after, provider_status=provider_status)
        self.status = status
        self.scope: Scope = scope


class UpstreamUnauthorized(UpstreamError):
    """The gateway's own credential was refused. ``token_expired``: a fresh token may do
    (OAuth accounts). Otherwise ``scope`` says what is refused: the account, until its
    credential changes, or (403) perhaps only this model or this request, so that others must
    not suffer for it. ``remedy`` is for the operator's log alone: a page to sign in at, say."""

    kind = "account_unauthorized"

    def __init__(
        self,
        message: str,
        *,
        token_expired: bool = False,
        remedy: str = "",
        scope: Scope = "account",
        provider_status: int | None = None,
    ) -> None:
        super().__init__(message, provider_status=provider_status)
        self.token_expired = token_expired
        self.remedy = remedy
        self.scope: Scope = scope
        self.refused: Secret | None = None  # the token, for who might fetch another


class UpstreamUnreachable(UpstreamError):
    """No response at all. ``untouched``: the provider cannot have begun the request (never
    connected, or a kept connection closed before it took a byte), so the same account may
    be asked once more."""

    kind = "unreachable"

    def __init__(self, message: str, *, untouched: bool = False) -> None:
        super().__init__(message)
        self.untouched = untouched


class UpstreamSilent(UpstreamError):
    """``limit`` is the name of the limit that was reached: connect, headers, first_token,
    idle, total or min_rate."""

    kind = "silent"
    status = 504

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class UpstreamTruncated(UpstreamError):
    kind = "truncated"


class UpstreamGarbled(UpstreamError):
    kind = "garbled"
