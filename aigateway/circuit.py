"""When an account that keeps failing is left alone, and when it is tried again.

One `Circuit` for an account and a model. Pure: monotonic seconds and chance are passed in.
"""

from __future__ import annotations

from .config import Retries


class Circuit:
    """Failures in a row, and what follows from them.

    Closed: it is asked. After ``eject_after`` failures in a row it is open for a time that doubles
    with each ejection; then half open: one request probes it, and decides. A probe that
    is given up without a verdict leaves it half open.
    """

    __slots__ = ("ejections", "failures", "probing", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.ejections = 0
        self.until: float | None = None
        """When it may be probed; None while it is closed."""
        self.probing = False

    def allows(self, now: float) -> bool:
        """Whether a request may be sent: the circuit is closed, or due for its probe."""
        return self.until is None or (now >= self.until and not self.probing)

    def asked(self, now: float) -> None:
        """A request is sent: the probe, if one is due. Those sent for want of anybody else before
        that say nothing new by failing."""
        self.probing = self.until is not None and now >= self.until

    def released(self) -> None:
        """What was asked has been given up, for no fault of the account's."""
        self.probing = False

    def begun(self) -> None:
        """An answer has begun: who speaks is there again."""
        self.probing = False
        if self.until is not None:
            self.until = None
            self.failures = 0

    def answered(self) -> None:
        """An answer was whole."""
        self.begun()
        self.failures = self.ejections = 0

    def failed(self, settings: Retries, now: float, chance: float, *, may_eject: bool) -> None:
        """One more failure; ``chance`` is from 0 to 1. ``may_eject``: the ceiling allows one more; else
        what has failed its probe is probed again."""
        self.failures += 1
        probed, self.probing = self.probing, False
        enough = bool(settings.eject_after) and self.failures >= settings.eject_after
        if may_eject and (probed or (self.until is None and enough)):
            # Doubled up to the bound, which some thirty times are enough for whatever it is.
            seconds = min(settings.eject_for * 2.0 ** min(self.ejections, 30), settings.max_eject)
            self.until = now + seconds * (0.75 + chance / 2)
            self.ejections += 1
