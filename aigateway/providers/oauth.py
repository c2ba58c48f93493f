"""A refresh token -> an access token, at Google or whoever speaks RFC 6749, section 6.

When to refresh, and that one refresh at a time is under way, is the accounts' business.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlencode

import msgspec

from ..errors import UpstreamBusy, UpstreamError, UpstreamFailed, UpstreamGarbled, UpstreamUnauthorized
from ..secret import Secret
from .base import UpstreamRequest

EXPIRES_IN = 3599.0
"""Google's usual lifetime, for an answer that names none."""

# RFC 6749, 5.2: the errors that no waiting mends, and what does.
_REMEDIES = {
    "invalid_grant": "the refresh token has expired or was revoked: sign in again and replace refresh_token",
    "invalid_client": "the OAuth client is not known: check client_id and client_secret",
    "unauthorized_client": "the refresh token belongs to another OAuth client: check client_id",
}


class RefreshableAccount(Protocol):
    """What a refresh needs of an account (`aigateway.config.records.Account` has it)."""

    @property
    def refresh_token(self) -> Secret | None: ...
    @property
    def client_id(self) -> str: ...
    @property
    def client_secret(self) -> Secret | None: ...
    @property
    def token_url(self) -> str: ...


class AccessToken(msgspec.Struct, frozen=True):
    """``expires_in`` seconds from the answer. ``refresh_token`` is there only if the old one
    was replaced by it."""

    token: Secret
    expires_in: float
    refresh_token: Secret | None = None


class _Answer(msgspec.Struct):
    access_token: str | None = None
    expires_in: float | str | None = None
    refresh_token: str | None = None
    error: object = None


def refresh_request(account: RefreshableAccount) -> UpstreamRequest:
    form = {"grant_type": "refresh_token", "client_id": account.client_id}
    if account.refresh_token is not None:
        form["refresh_token"] = account.refresh_token.reveal()
    if account.client_secret is not None:
        form["client_secret"] = account.client_secret.reveal()
    headers = ((b"content-type", b"application/x-www-form-urlencoded"), (b"accept", b"application/json"))
    return UpstreamRequest(account.token_url.encode(), headers, urlencode(form).encode())


def parse_token(status: int, body: bytes, account: str = "") -> AccessToken:
    """The token. Raises the `UpstreamError` that says why there is none, with the remedy
    for ``account`` where its owner has to do something.

    `UpstreamUnauthorized` means that the account is of no use until its owner does
    something; the other classes may pass by themselves.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _Answer()
    if status == 200 and answer.access_token:
        refreshed = Secret(answer.refresh_token) if answer.refresh_token else None
        return AccessToken(Secret(answer.access_token), _lifetime(answer.expires_in), refreshed)
    error = _refusal(status, answer.error, account)
    error.provider_status = status
    raise error


def _refusal(status: int, error: object, account: str) -> UpstreamError:
    if isinstance(error, str) and error in _REMEDIES:
        whose = f" of account {account}" if account else " of the account"
        return UpstreamUnauthorized(_REMEDIES[error] + whose)
    if status == 429:
        return UpstreamBusy("the token endpoint is busy", scope="account")
    if status == 200:
        return UpstreamGarbled("the token endpoint answered without an access token")
    return UpstreamFailed(f"the token endpoint answered with status {status}")


def _lifetime(told: float | str | None) -> float:
    try:
        seconds = float(told) if told is not None else EXPIRES_IN
    except ValueError:
        return EXPIRES_IN
    return seconds if 0 < seconds < 1e9 else EXPIRES_IN
