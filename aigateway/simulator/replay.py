"""Recorded bytes as a provider: what a fixture holds, cut where a test wants it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from .provider import Simulated, body_of
from .wire import Ending, Response


class Replay(Simulated):
    """Answer every request with ``body``.

    ``split`` gives the sizes of the pieces; what they leave is the last piece. Each is written
    in a reactor turn of its own, ``interval`` seconds apart (a `Clock` runs all that is due in
    one step, so a test in memory needs an interval to see them one by one). ``cut_at`` closes
    the connection after that many bytes, in the middle of the body; otherwise it ends as HTTP
    wants it.
    """

    def __init__(
        self,
        body: bytes,
        *,
        clock: IReactorTime,
        status: int = 200,
        content_type: str = "text/event-stream",
        headers: Sequence[tuple[str, str]] = (),
        split: Sequence[int] | None = None,
        interval: float = 0.0,
        cut_at: int | None = None,
    ) -> None:
        super().__init__(clock)
        self._body = body if cut_at is None else body[:cut_at]
        self._status = status
        self._content_type = content_type
        self._headers = tuple(headers)
        self._split = tuple(split or ())
        self._interval = interval
        self._ending = Ending.WHOLE if cut_at is None else Ending.CUT

    def render(self, request: Request) -> int:
        self.requests += 1
        self.note(request, body_of(request))
        response = Response(self._pieces(), self._content_type, self._status, self._headers, self._ending)
        return self.respond(request, response, interval=self._interval)

    def _pieces(self) -> Iterator[bytes]:
        start = 0
        for size in self._split:
            yield self._body[start : start + size]
            start += size
        if start < len(self._body) or not self._split:
            yield self._body[start:]
