"""How long providers say to wait, in headers, durations, dates and prose."""

from __future__ import annotations

import math
import time
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.providers.waiting import (
    from_text,
    go_duration,
    latest_date,
    retry_after,
    rfc3339,
    spent_until,
)

NOW = 1_788_000_000.0  # 2026-08-29 10:40:00 UTC


class Headers(unittest.TestCase):
    def test_seconds_and_milliseconds(self) -> None:
        """retry-after counts seconds, retry-after-ms milliseconds; a huge number is as good as any."""
        self.assertEqual(retry_after({"retry-after": "7"}, NOW), 7.0)
        self.assertEqual(retry_after({"retry-after": " 1.5 "}, NOW), 1.5)
        self.assertEqual(retry_after({"retry-after-ms": "250"}, NOW), 0.25)
        self.assertEqual(retry_after({"retry-after": "1000000000"}, NOW), 1e9)

    def test_the_larger_of_both(self) -> None:
        """Of the two headers the longer wait counts (Azure: 0 ms beside 1 s)."""
        self.assertEqual(retry_after({"retry-after": "1", "retry-after-ms": "0"}, NOW), 1.0)
        self.assertEqual(retry_after({"retry-after": "1", "retry-after-ms": "2000"}, NOW), 2.0)
        self.assertEqual(retry_after({"retry-after": "x", "retry-after-ms": "500"}, NOW), 0.5)

    def test_http_date(self) -> None:
        """A date counts from now; one that is past is no wait."""
        self.assertEqual(retry_after({"retry-after": "Sat, 29 Aug 2026 10:41:00 GMT"}, NOW), 60.0)
        self.assertEqual(retry_after({"retry-after": "Sat, 29 Aug 2026 10:39:00 GMT"}, NOW), 0.0)

    def test_spent_limits(self) -> None:
        """Of OpenAI's limits those count of which nothing remains, and of these the longest."""

        def limits(requests: str, tokens: str) -> dict[str, str]:
            return {
                "x-ratelimit-remaining-requests": requests,
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-tokens": tokens,
                "x-ratelimit-reset-tokens": "6m0s",
            }

        self.assertEqual(spent_until(limits("0", "29000")), 20.0)
        self.assertEqual(spent_until(limits("0", " 0")), 360.0)
        self.assertIsNone(spent_until(limits("1", "29000")))
        self.assertIsNone(spent_until({"x-ratelimit-remaining-requests": "0"}))
        self.assertIsNone(spent_until(limits("0", "1") | {"x-ratelimit-reset-requests": "soon"}))

    def test_nothing_usable(self) -> None:
        """Garbage, negative and endless values are as good as none."""
        for text in ("", "-5", "soon", "inf", "nan", "1e999", "0x10", "1_000", "٣", "9" * 500, "1;2"):
            with self.subTest(text):
                self.assertIsNone(retry_after({"retry-after": text, "retry-after-ms": text}, NOW))
        self.assertIsNone(retry_after({}, NOW))


class Durations(unittest.TestCase):
    def test_go_durations(self) -> None:
        """Go's durations, as Google and the x-ratelimit-reset headers write them."""
        for text, seconds in (
            ("39s", 39.0),
            ("3.957525076s", 3.957525076),
            ("391609.795772632s", 391609.795772632),
            ("108h48m20.795762633s", 391700.795762633),
            ("6m0s", 360.0),
            ("20ms", 0.02),
            ("1d", 86400.0),
            ("500µs", 0.0005),
        ):
            with self.subTest(text):
                duration = go_duration(text)
                assert duration is not None
                self.assertAlmostEqual(duration, seconds)

    def test_no_durations(self) -> None:
        """What is not wholly a duration is none."""
        for text in ("", "s", "5", "-3s", "3s!", "h1", "1.2.3s", "inf", "1e3s", "3x"):
            with self.subTest(text):
                self.assertIsNone(go_duration(text))

    def test_dates(self) -> None:
        """RFC 3339 dates count from now; a date without a zone is read in the one given."""
        self.assertEqual(rfc3339("2026-08-29T10:41:00Z", NOW), 60.0)
        self.assertEqual(rfc3339("2026-08-29T12:41:00.5+02:00", NOW), 60.5)
        self.assertEqual(rfc3339("2026-08-29T10:00:00Z", NOW), 0.0)
        self.assertEqual(rfc3339("2026-08-29 18:41:00", NOW, utc_offset=8), 60.0)
        for text in ("", "tomorrow", "2026-13-01T00:00:00Z", "2026" * 99):
            self.assertIsNone(rfc3339(text, NOW))
        self.assertIsNone(rfc3339("2026-08-29 18:41:00", NOW, utc_offset=1e9))


class Prose(unittest.TestCase):
    def test_recorded_messages(self) -> None:
        """The wording of Google, OpenAI and GLM."""
        for text, seconds in (
            ("Rate limit reached. Please try again in 20s. Visit https://x", 20.0),
            ("Limit: 3 / min. Please try again in 6m0s.", 360.0),
            ("Please try again in 20ms.", 0.02),
            ("model: gemini-2.5-flash\nPlease retry in 48.939935699s.", 48.939935699),
            ("Your quota will reset after 1h43m56s.", 6236.0),
            ("Individual quota reached. Resets in 108h48m29s.", 391709.0),
            ("Please retry after 6 seconds.", 6.0),
            ("try again in about 1 hour 5 minutes", 3900.0),
            ("Your limit will reset at 2026-08-29 10:41:00", 60.0),
        ):
            with self.subTest(text):
                self.assertEqual(from_text(text, NOW), seconds)

    def test_dates_need_the_time(self) -> None:
        """A date says nothing without the present one; its zone may be given."""
        self.assertIsNone(from_text("reset at 2026-08-29 10:41:00"))
        self.assertEqual(from_text("reset at 2026-08-29 18:41:00", NOW, utc_offset=8), 60.0)

    def test_latest_date(self) -> None:
        """Of the dates in a text of any language the latest counts; without the present one, none does."""
        for text, wait in (
            ("您的限额将在 2026-08-29 18:41:00 重置", 60.0),
            ("从 2026-08-29 18:41:00 到 2026-08-29T18:42:00，2026-13-01 00:00:00", 120.0),
            ("2026-08-29 10:41:00Z", 60.0),
            ("2026-08-01 18:41:00", 0.0),
            ("稍后再试", None),
        ):
            with self.subTest(text):
                self.assertEqual(latest_date(text, NOW, utc_offset=8), wait)
        self.assertIsNone(latest_date("2026-08-29 18:41:00", None))

    def test_other_numbers(self) -> None:
        """A number that is no wait is not taken for one."""
        for text in (
            "",
            "limit 20s",
            "try again later",
            "retry in 5 mangos",
            "try again in -5s",
            "resets in s",
        ):
            with self.subTest(text):
                self.assertIsNone(from_text(text, NOW))


class HostileText(unittest.TestCase):
    @settings(max_examples=200, deadline=None)
    @given(st.text() | st.text("0123456789.hmsdnµ-:TZ +eE"), st.floats(0, 4e9))
    def test_any_text(self, text: str, now: float) -> None:
        """Whatever the text, the answer is None or a finite number from 0 up."""
        for wait in (
            retry_after({"retry-after": text, "retry-after-ms": text}, now),
            go_duration(text),
            rfc3339(text, now),
            from_text(text, now),
            from_text(f"try again in {text}", now),
            from_text(f"reset at {text}", now),
            latest_date(text, now),
        ):
            if wait is not None:
                self.assertTrue(math.isfinite(wait))
                self.assertGreaterEqual(wait, 0.0)

    def test_long_text(self) -> None:
        """Long text costs no more than a moment."""
        began = time.perf_counter()
        for piece in ("try again in 1", "1h", "1", "reset at 2026-", "9.", " "):
            from_text(piece * 1_000_000, NOW)
            latest_date(piece * 1_000_000, NOW)
            from_text("try again in " + piece * 1_000_000, NOW)
            go_duration(piece * 1_000_000)
        self.assertLess(time.perf_counter() - began, 2.0)
