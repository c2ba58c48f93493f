"""What a finished request leaves behind: one `Outcome`, with one `Attempt` for each try.

Records only. The executor fills them in; `aigateway.counters` counts them and keeps the
last ones. They are shown by ``GET /stats`` and in the log, so they hold no key and no
prompt, and error messages come in already masked (`aigateway.secret.mask`).
"""

from __future__ import annotations

import msgspec

from .events import Usage

OK = "ok"
CLIENT_LEFT = "client_left"
OVERTAKEN = "overtaken"

MAX_TEXT = 300
"""Characters kept of a text that a client or a provider chose."""
MAX_DROPPED = 20
"""Names of dropped fields that are kept."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One try at one account.

    ``error`` is None where the provider's answer was whole, ``"client_left"`` where it was
    abandoned because the client had gone, ``"overtaken"`` where another attempt at the same
    answer spoke first, else the ``kind`` of the `GatewayError`; ``limit`` names the limit that ended it,
    if one did. ``usage`` is what it took, as told or
    estimated; None where nothing was told and nothing can have been taken.
    ``status`` is the provider's HTTP status, None without a response. ``ttfb`` is the
    provider's own: from sending the request to the first byte of the answer's body.
    """

    provider: str
    model: str
    account: str
    status: int | None = None
    error: str | None = None
    seconds: float = 0.0
    ttfb: float | None = None
    provider_request_id: str | None = None
    usage: Usage | None = None
    limit: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request, once it is over. ``operation`` is ``"chat"`` or ``"count_tokens"``.

    ``model`` is the name that the client asked for, ``target_model`` the provider's;
    ``provider``, ``target_model`` and ``account`` are those that answered, or were tried
    last, and None where none was. ``client`` is the name of the client's key, ``status``
    the HTTP status sent. ``result`` is ``"ok"``, ``"client_left"`` or the ``kind`` of the
    `GatewayError` that the client was told. ``error`` may be set beside ``"ok"``: a fault
    after the finish reason is kept here and not shown to the client.

    ``started_at`` is in Unix seconds. ``ttfb`` (to the first byte to the client) and
    ``seconds`` are durations by the monotonic clock. ``chunks`` counts the writes to the
    client, ``bytes_out`` what they held, ``bytes_in`` what came from providers, all
    attempts together. ``dropped`` names the fields of the request that had no place in
    what the provider was asked, ``emulated`` those that were brought about by other means.
    ``mended`` counts the provider's frames that broke the client's grammar and were put right.
    ``usage`` is that of the answer; what attempts took that came to nothing is in theirs alone.
    ``waited`` is the time spent waiting for an account; ``retry_denied``: there was somebody left to
    ask, and the budget for asking again was spent.
    """

    request_id: str
    started_at: float
    dialect: str
    model: str
    streamed: bool
    status: int
    result: str
    operation: str = "chat"
    client: str | None = None
    provider: str | None = None
    target_model: str | None = None
    account: str | None = None
    error: str | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    ttfb: float | None = None
    seconds: float = 0.0
    chunks: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    attempts: tuple[Attempt, ...] = ()
    dropped: tuple[str, ...] = ()
    emulated: tuple[str, ...] = ()
    mended: int = 0
    simulated: bool = False
    waited: float = 0.0
    retry_denied: bool = False

    def clipped(self) -> Outcome:
        """The same with long texts cut, since the last outcomes are kept and a client may
        send names of megabytes; itself where there is nothing long."""
        if self.error is None and not self.dropped and not self.emulated and len(self.model) <= MAX_TEXT:
            return self
        return msgspec.structs.replace(
            self,
            model=self.model[:MAX_TEXT],
            target_model=self.target_model and self.target_model[:MAX_TEXT],
            error=self.error and self.error[:MAX_TEXT],
            attempts=tuple(
                msgspec.structs.replace(attempt, model=attempt.model[:MAX_TEXT]) for attempt in self.attempts
            ),
            dropped=_cut(self.dropped),
            emulated=_cut(self.emulated),
        )


def _cut(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name[:MAX_TEXT] for name in names[:MAX_DROPPED])
