"""What is taken for the head of a response, and what is refused before anybody reads it."""

from __future__ import annotations

from unittest import TestCase

from aigateway.response_head import HeadMalformed, HeadTooLarge, ResponseHead

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def head(size: int = 1000, lines: int = 20, informational: int = 2) -> ResponseHead:
    return ResponseHead(size, lines, informational)


class GoodTests(TestCase):
    def test_it_ends_where_the_head_does(self) -> None:
        """However it is cut; what comes behind is not looked at."""
        for data in (
            OK,
            b"HTTP/1.0 200\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 429 \xc3\xa9\r\nX-Empty:\r\nx-tab:\ta\tb \xff\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + OK,
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        ):
            with self.subTest(data):
                for cut in range(len(data)):
                    one = head()
                    one.feed(data[:cut])
                    self.assertFalse(one.over)
                    one.feed(data[cut:] + b"\n\r\x00 anything")
                    self.assertTrue(one.over)
                one = head()
                for byte in data:
                    self.assertFalse(one.over)
                    one.feed(bytes([byte]))
                self.assertTrue(one.over)


class BadTests(TestCase):
    def test_what_is_refused(self) -> None:
        """All that is no head by the book, and that two readers may read in two ways; wherever it is
        cut, and at the latest when the head ends."""
        for data in (
            b"data: hello\n\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"http/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 +200 OK\r\n\r\n",
            b"HTTP/1.1  200 OK\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 200 OK\n\n",
            b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \x1b[2J\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        ):
            with self.subTest(data):
                for cut in range(len(data)):
                    with self.assertRaises(HeadMalformed):
                        one = head()
                        one.feed(data[:cut])
                        one.feed(data[cut:])

    def test_half_a_line_end_is_not_waited_out(self) -> None:
        """A head whose lines end in LF alone has no end that could be waited for."""
        with self.assertRaises(HeadMalformed):
            head().feed(b"HTTP/1.1 200 OK\n")


class LimitTests(TestCase):
    def test_bytes(self) -> None:
        """At the limit, and one over it."""
        head(size=len(OK)).feed(OK)
        with self.assertRaises(HeadTooLarge):
            head(size=len(OK) - 1).feed(OK)

    def test_bytes_without_end(self) -> None:
        """Of a head that does not end, as soon as they are too many."""
        one = head()
        one.feed(b"HTTP/1.1 200 OK\r\nA: ")
        with self.assertRaises(HeadTooLarge):
            for _ in range(100):
                one.feed(b"x" * 10)

    def test_lines(self) -> None:
        """The status line and the last, empty one are lines, too."""
        head(lines=4).feed(OK)
        with self.assertRaises(HeadTooLarge):
            head(lines=3).feed(OK)

    def test_informational_responses(self) -> None:
        """They are counted, and what is in them counts for the head."""
        early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        head(informational=2).feed(early * 2 + OK)
        with self.assertRaises(HeadTooLarge):
            head(informational=1).feed(early * 2 + OK)
        with self.assertRaises(HeadTooLarge):
            head(size=len(OK) + 1).feed(early + OK)
