"""The event stream's framing: the WHATWG rules, our two leniencies, the limits, the cost."""

from __future__ import annotations

import codecs
import itertools
import unittest
from pathlib import Path
from typing import Any, SupportsIndex

import httpx_sse._decoders as httpx_sse
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.sse import Frame, FrameTooLarge, SSEDecoder

TORTURE = Path(__file__).parent / "fixtures" / "compat" / "x-sse-torture.sse"


def decode(*pieces: bytes) -> list[Frame]:
    """The frames of a stream that comes in these pieces and stays open."""
    decoder = SSEDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def decode_all(pieces: list[bytes], decoder: SSEDecoder | None = None) -> list[Frame]:
    """The frames of a stream that comes in these pieces and ends."""
    decoder = decoder or SSEDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames + decoder.close()


def single_bytes(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def encode(frame: Frame) -> bytes:
    """A frame as a server may write it."""
    head = b"event: %b\n" % frame.event if frame.event else b""
    return b"%bdata: %b\n\n" % (head, frame.data.replace(b"\n", b"\ndata: "))


class Rules(unittest.TestCase):
    """The interpretation of an event stream: HTML standard, section 9.2.6."""

    def test_data(self) -> None:
        """An event is dispatched at its blank line, with its data."""
        self.assertEqual(decode(b"data: a"), [])
        self.assertEqual(decode(b"data: a\n"), [])
        self.assertEqual(decode(b"data: a\n\n"), [Frame(b"a")])
        self.assertEqual(decode(b"data: a\n\ndata: b\n\ndata: c"), [Frame(b"a"), Frame(b"b")])

    def test_line_ends(self) -> None:
        """A line ends with LF, CRLF or CR, and they may be mixed."""
        for first, second in itertools.product((b"\n", b"\r\n", b"\r"), repeat=2):
            data = b"event: x%bdata: a%b%bdata: b%b%b" % (first, second, second, first, first)
            with self.subTest(data):
                self.assertEqual(decode(data), [Frame(b"a", b"x"), Frame(b"b")])
                self.assertEqual(decode(*single_bytes(data)), [Frame(b"a", b"x"), Frame(b"b")])

    def test_cr_at_the_end_of_a_piece(self) -> None:
        """A CR ends its line at once, and the LF that comes next is not a second one."""
        decoder = SSEDecoder()
        self.assertEqual(decoder.feed(b"data: a\r"), [])
        self.assertEqual(decoder.feed(b""), [])
        self.assertEqual(decoder.feed(b"\n"), [])
        self.assertEqual(decoder.feed(b"\r"), [Frame(b"a")])
        self.assertEqual(decoder.feed(b"\ndata: b\n\n"), [Frame(b"b")])

    def test_crcr_is_a_blank_line(self) -> None:
        """Two CRs, in two pieces too, make a blank line."""
        self.assertEqual(decode(b"data: a\r\r"), [Frame(b"a")])
        self.assertEqual(decode(b"data: a\r", b"\r"), [Frame(b"a")])

    def test_byte_order_mark(self) -> None:
        """One byte order mark at the start is skipped, however it is split; later ones are not."""
        bom = codecs.BOM_UTF8
        for place in range(4):
            with self.subTest(place):
                self.assertEqual(decode(bom[:place], bom[place:] + b"data: a\n\n"), [Frame(b"a")])
        self.assertEqual(decode(*single_bytes(bom + b"data: a\n\n")), [Frame(b"a")])
        self.assertEqual(decode(bom + bom + b"data: a\n\n"), [])  # a field of another name
        self.assertEqual(decode(b"data: a\n\n" + bom + b"data: b\n\n"), [Frame(b"a")])

    def test_what_only_begins_like_a_byte_order_mark(self) -> None:
        """The first bytes of the mark without the rest are content."""
        self.assertEqual(decode(b"\xef", b"\xbb", b"x: 1\ndata: a\n\n"), [Frame(b"a")])
        self.assertEqual(decode_all([b"\xef", b"\xbb"]), [])

    def test_comments(self) -> None:
        """Comments are skipped, and make no event by themselves."""
        data = b": one\n\n:\ndata: a\n: two\ndata: b\n\n:data: c\n\n"
        self.assertEqual(decode(data), [Frame(b"a\nb")])

    def test_several_data_lines(self) -> None:
        """Data lines are joined by LF."""
        self.assertEqual(decode(b'data: {"a":\ndata: 1}\n\n'), [Frame(b'{"a":\n1}')])
        self.assertEqual(decode(b"data\ndata\n\n"), [Frame(b"\n")])

    def test_spaces(self) -> None:
        """One space after the colon is not content; more are, and no other blank is."""
        self.assertEqual(decode(b"data:a\n\n"), [Frame(b"a")])
        self.assertEqual(decode(b"data:  a \n\n"), [Frame(b" a ")])
        self.assertEqual(decode(b"data:\ta\n\n"), [Frame(b"\ta")])
        self.assertEqual(decode(b" data: a\n\n"), [])
        self.assertEqual(decode(b"event:x\ndata:a\n\n"), [Frame(b"a", b"x")])

    def test_empty_data(self) -> None:
        """A data line makes an event, even an empty one; no data line makes none."""
        self.assertEqual(decode(b"data\n\n"), [Frame(b"")])
        self.assertEqual(decode(b"data:\n\n"), [Frame(b"")])
        self.assertEqual(decode(b"event: x\n\ndata: a\n\n"), [Frame(b"a")])
        self.assertEqual(decode(b"\n\n\n\n"), [])

    def test_event_names(self) -> None:
        """The last name of an event counts, and each event has its own."""
        self.assertEqual(
            decode(b"event: x\nevent: y\ndata: a\n\ndata: b\n\n"), [Frame(b"a", b"y"), Frame(b"b")]
        )
        self.assertEqual(decode(b"data: a\nevent: x\n\n"), [Frame(b"a", b"x")])

    def test_other_fields(self) -> None:
        """id, retry and unknown fields change nothing; names are taken exactly."""
        data = b"id: 7\nretry: 3000\nfoo: x\nfoo\nDATA: y\ndatax: z\ndata: a\n\n"
        self.assertEqual(decode(data), [Frame(b"a")])

    def test_colons_in_values(self) -> None:
        """Only the first colon divides a line."""
        self.assertEqual(decode(b"data: a: b:c\n\n"), [Frame(b"a: b:c")])

    def test_other_line_ends_are_content(self) -> None:
        """U+2028, U+0085, VT and NUL end no line."""
        text = "a\u2028b\u0085c\x0bd\x00e".encode()
        self.assertEqual(decode(b"data: " + text + b"\n\n"), [Frame(text)])

    def test_characters_split_anywhere(self) -> None:
        """A character that comes in two pieces is whole again in its frame."""
        data = "data: 数到5😀\n\n".encode()
        for place in range(len(data)):
            self.assertEqual(decode(data[:place], data[place:]), [Frame("数到5😀".encode())])


class Leniencies(unittest.TestCase):
    def test_error_field(self) -> None:
        """A line with the field name ``error``, as llama.cpp writes it, is an event named error."""
        self.assertEqual(decode(b'error: {"a":1}\n\n'), [Frame(b'{"a":1}', b"error")])
        self.assertEqual(decode(b'error:{"a":1}\n\n'), [Frame(b'{"a":1}', b"error")])
        self.assertEqual(decode(b"error\n\n"), [])

    def test_last_event_without_blank_line(self) -> None:
        """A last event counts without its blank line if its data is whole JSON or [DONE]."""
        for data in (b'{"a":1}', b"[DONE]", b" [DONE] ", b"[1]", b'"a"', b"null"):
            for end in (b"", b"\n", b"\r", b"\r\n"):
                with self.subTest(data + end):
                    self.assertEqual(decode_all([b"data: " + data + end]), [Frame(data)])

    def test_last_event_that_is_cut(self) -> None:
        """A last event that is cut short does not count."""
        deep = b"[" * 100_000
        for line in (
            b'data: {"a":',
            b"data: [DON",
            b"data: {",
            b"data:",
            b"data",
            b"data: \xff",
            b"data: " + deep,
        ):
            with self.subTest(line[:20]):
                self.assertEqual(decode_all([line]), [])
        self.assertEqual(decode_all([b'event: x\ndata: {"a":1}']), [Frame(b'{"a":1}', b"x")])
        self.assertEqual(decode_all([b"event: x"]), [])
        self.assertEqual(decode_all([b": comment"]), [])

    def test_closing_twice(self) -> None:
        """A last event is given once."""
        decoder = SSEDecoder()
        decoder.feed(b"data: 1")
        self.assertEqual((decoder.close(), decoder.close()), ([Frame(b"1")], []))


class Torture(unittest.TestCase):
    """The recording that breaks parsers: every rule at once."""

    EXPECTED = (
        Frame(b'{"a":\n1}', b"message"),
        Frame(b'{"b":2}'),
        Frame(b""),
        Frame(b'{"c":3}'),
        Frame(b' {"d": " two spaces"}'),
        Frame(b'{"e":5}'),
    )

    def test_whole(self) -> None:
        """It is read as its description says, the last event leniently."""
        self.assertEqual(decode_all([TORTURE.read_bytes()]), list(self.EXPECTED))
        self.assertEqual(decode(TORTURE.read_bytes()), list(self.EXPECTED[:-1]))

    def test_every_two_splits(self) -> None:
        """It is read the same wherever it is cut in three."""
        data = TORTURE.read_bytes()
        for first, second in itertools.combinations(range(len(data) + 1), 2):
            pieces = [data[:first], data[first:second], data[second:]]
            if decode_all(pieces) != list(self.EXPECTED):
                self.fail(f"cut at {first} and {second} it is another stream")


class Limits(unittest.TestCase):
    """A line of ``max_line`` bytes and an event of ``max_event`` pass; one byte more does not."""

    def read(self, data: bytes, step: int, max_line: int, max_event: int) -> list[Frame]:
        pieces = [data[place : place + step] for place in range(0, len(data), step)]
        return decode_all(pieces, SSEDecoder(max_line, max_event))

    def test_line(self) -> None:
        """The limit of a line holds at its edge, and says so, however the line comes."""
        good = b"data: " + b"x" * 94
        for step in (1, 7, 64, 1000):
            with self.subTest(step=step):
                self.assertEqual(self.read(good + b"\n\n", step, 100, 1000), [Frame(b"x" * 94)])
                for bad in (
                    good + b"x\n\n",
                    good + b"x\ndata: y\n\n",
                    b"data: y\n" + good + b"x\n\n",
                    good + b"x",
                ):
                    with self.assertRaisesRegex(FrameTooLarge, "a line is longer than 100 bytes"):
                        self.read(bad, step, 100, 1000)

    def test_event(self) -> None:
        """The limit of an event holds at its edge, and says so, however the event comes."""
        lines = b"\n".join([b"data: " + b"x" * 43] * 4)  # 199 bytes
        for step in (1, 7, 64, 1000):
            with self.subTest(step=step):
                self.assertEqual(len(self.read(lines + b"\n\n" + lines + b"\n\n", step, 100, 199)), 2)
                for bad in (lines + b"\n:\n\n", lines + b"x\n\n", lines + b"x"):
                    with self.assertRaisesRegex(FrameTooLarge, "an event is larger than 199 bytes"):
                        self.read(bad, step, 100, 199)

    def test_event_limit_below_the_line_limit(self) -> None:
        """The smaller of the two limits holds, whichever it is."""
        for step in (1, 1000):
            with self.assertRaisesRegex(FrameTooLarge, "an event is larger"):
                self.read(b"data: " + b"x" * 50 + b"\n\n", step, 1000, 40)

    def test_a_long_line_that_has_ended(self) -> None:
        """A line over the limit is refused also when a shorter one follows it."""
        with self.assertRaises(FrameTooLarge):
            self.read(b"data: " + b"x" * 100 + b"\n: y\n\n", 1000, 100, 1000)

    def test_many_events(self) -> None:
        """The limits are for each event: a stream may be of any length."""
        self.assertEqual(len(self.read(b"data: 12345\n\n" * 1000, 50, 20, 20)), 1000)


class Counted(bytearray):
    """A buffer that counts the bytes that are searched or copied out of it."""

    work = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        self.work += len(self) - (start or 0)
        return super().find(sub, start)

    def rfind(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        self.work += len(self) - (start or 0)
        return super().rfind(sub, start)

    def __iadd__(self, other: Any) -> Counted:  # type: ignore[misc]
        self.work += len(other)
        super().__iadd__(other)
        return self

    def __bytes__(self) -> bytes:
        self.work += len(self)
        return bytes(memoryview(self))

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        self.work += len(found) if isinstance(found, bytes | bytearray) else 1
        return found


class Cost(unittest.TestCase):
    def test_a_large_event_is_read_in_linear_time(self) -> None:
        """An event of 16 MiB in pieces of 64 KiB costs a few looks at each byte, not one for each
        piece: the buffer is searched only where it is new."""
        size, step = 16 * 1024 * 1024, 64 * 1024
        for lines in (2, 10_000):
            line = b"data: " + b"x" * (size // lines - 7)
            data = b"\n".join([line] * lines)
            decoder = SSEDecoder(max_line=size)
            decoder._pending = pending = Counted()
            frames = []
            for place in range(0, len(data), step):
                frames += decoder.feed(data[place : place + step])
            frames += decoder.feed(b"\n\n")
            self.assertEqual([len(frame.data) for frame in frames], [len(data) - 6 * lines])
            self.assertGreater(pending.work, len(data))
            self.assertLess(pending.work, 5 * len(data))

    def test_nothing_is_held_between_events(self) -> None:
        """After the last whole event only the unfinished rest is kept."""
        decoder = SSEDecoder()
        decoder.feed(b"data: " + b"x" * 1_000_000)
        decoder.feed(b"\n\ndata: y")
        self.assertEqual(bytes(decoder._pending), b"data: y")


# ------------------------------------------------------------------- properties

_values = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
_lines = st.one_of(
    st.builds("data:{}".format, _values),
    st.builds("data: {}".format, _values),
    st.builds("event: {}".format, _values),
    st.builds(":{}".format, _values),
    st.builds("{}: {}".format, st.sampled_from(["id", "retry", "dat", "foo"]), _values),
    st.sampled_from(["data", "event", "", "", "", "\ufeffdata: x"]),
)
_streams = st.lists(st.tuples(_lines, st.sampled_from(["\n", "\n", "\r\n", "\r"])), max_size=20)


@st.composite
def _cut_streams(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    text = "".join(line + end for line, end in draw(_streams))
    data = text.encode()
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return text, [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]


def as_httpx_sse_reads(text: str) -> list[tuple[str, str]]:
    """(name, data) of the events that httpx-sse finds. It also gives events that have no data,
    which the standard forbids; those are left out."""
    decoder = httpx_sse.SSEDecoder()
    found = []
    has_data = False
    for line in httpx_sse.SSELineDecoder().decode(text):
        has_data = has_data or line.partition(":")[0] == "data"
        event = decoder.decode(line)
        if not line:
            if event is not None and has_data:
                found.append((event.event, event.data))
            has_data = False
    return found


class Properties(unittest.TestCase):
    @settings(deadline=None, max_examples=400)
    @given(_cut_streams())
    def test_same_as_httpx_sse(self, cut: tuple[str, list[bytes]]) -> None:
        """Any stream, cut anywhere, gives the events that httpx-sse finds in it."""
        text, pieces = cut
        # A lone LF more ends, at most, a CRLF; the byte order mark is not httpx-sse's business.
        expected = as_httpx_sse_reads(text.removeprefix("\ufeff") + "\n")
        found = [(frame.event.decode() or "message", frame.data.decode()) for frame in decode(*pieces, b"\n")]
        self.assertEqual(found, expected)

    @settings(deadline=None)
    @given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
    def test_any_bytes(self, data: bytes, cuts: list[int]) -> None:
        """Any bytes give the same frames however they are cut, and never an exception."""
        places = sorted(min(place, len(data)) for place in cuts)
        pieces = [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]
        self.assertEqual(decode_all(pieces), decode_all([data]))

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(
                Frame,
                st.binary(max_size=20).filter(lambda data: b"\r" not in data),
                st.from_regex(rb"\A[a-z_]{0,8}\Z"),
            )
        )
    )
    def test_encode_and_back(self, frames: list[Frame]) -> None:
        """What is encoded is decoded to the same frames."""
        self.assertEqual(decode_all([encode(frame) for frame in frames]), frames)
