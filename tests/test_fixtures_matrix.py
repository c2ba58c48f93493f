"""Every recorded stream of every provider, into every dialect and as it came, however it is cut.

The whole of it takes many minutes: ``AIGATEWAY_SPLITS=200`` cuts each recording in that many random
ways for each dialect, the short ones at every place, and ends each of them at every byte. Without it
the suite is content with a part of that, since one decoder cuts for all.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import unittest
from pathlib import Path
from typing import Any, ClassVar

from aigateway.check import Answer, check
from aigateway.dialects import DIALECTS
from aigateway.errors import UpstreamTruncated
from aigateway.events import Thinking

from .recordings import Told, answering, ask, kind_of, plainly, streams

FOLDERS = {"openai": 23, "glm": 20, "antigravity": 19, "compat": 40, "gemini": 40, "anthropic": 40}
"""The folders of recordings, with how many there are at least."""
ALL = streams(*FOLDERS)
OWN_DIALECT = {"openai": "openai", "compat": "openai", "gemini": "gemini", "anthropic": "claude"}
"""What a provider speaks: its clients get its answers as they came."""
AS_IT_CAME = "as it came"
CASES = [
    *itertools.product(ALL, DIALECTS),
    *((path, AS_IT_CAME) for path in ALL if path.parent.name in OWN_DIALECT),
]
SPLITS = int(os.environ.get("AIGATEWAY_SPLITS", "5"))
WHOLE = SPLITS >= 200
ONCE = [
    *(case for number, case in enumerate(CASES[: 4 * len(ALL)]) if number % 4 == number // 4 % 4),
    *CASES[4 * len(ALL) :],
]
"""Each recording into one of the dialects, in turn, and as it came: what cuts is the same for all."""
SHORT = 4000 if WHOLE else 1000
"""Up to this size a recording is cut in two at every place."""
BRIEF = 4000 if WHOLE else 1500
"""Up to this size a recording is ended at every byte; a longer one at some."""

# Ids that are made up on the way, and so differ from run to run.
_MADE_UP = re.compile(rb"\b(toolu|call|fc|rs|msg|ctc)_[0-9a-f]{20,32}\b")

# How an answer ended: Claude's word -> each other dialect's.
STOPS = {
    "claude": {},
    "openai": {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "pause_turn": "stop",
        "tool_use": "tool_calls",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "refusal": "content_filter",
    },
    "responses": {
        "max_tokens": "max_output_tokens",
        "model_context_window_exceeded": "max_output_tokens",
        "refusal": "content_filter",
    },
    "gemini": {
        "max_tokens": "MAX_TOKENS",
        "model_context_window_exceeded": "MAX_TOKENS",
        "refusal": "SAFETY",
    },
}
OTHERWISE = {"responses": "completed", "gemini": "STOP"}


class Translated:
    """One recording, in pieces, as a client of ``dialect`` gets it, or as it came: ``data`` is the
    answer, without made-up ids, ``shown`` the same with the error frame where it failed."""

    def __init__(self, path: Path, dialect: str, pieces: list[bytes], include_usage: bool = True) -> None:
        kept = dialect == AS_IT_CAME
        self.dialect = OWN_DIALECT[path.parent.name] if kept else dialect
        # Gemini shows its thoughts to those who ask for them.
        chat = ask(self.dialect, include_usage=include_usage, thinking=Thinking("enabled"))
        writer = DIALECTS[self.dialect].writer(chat, "req_1", 1700000000)
        self.stream = kind_of(path).stream(answering(chat, kept=kept), writer)
        self.parts = [self.stream.feed(piece) for piece in pieces]
        self.parts.append(self.stream.end())
        self._ids: dict[bytes, bytes] = {}
        self.data = self._without_ids(b"".join(self.parts))
        failure = self.stream.failure if self.data else None
        shown = b"" if failure is None else self._without_ids(writer.fail(failure))
        self.shown = self.data + shown
        self.lenient = kept

    def _without_ids(self, data: bytes) -> bytes:
        """``data`` with a number for each made-up id."""
        ids = self._ids
        return _MADE_UP.sub(
            lambda found: ids.setdefault(found[0], b"%b_made-up-%d" % (found[1], len(ids))), data
        )

    def told(self) -> tuple[object, ...]:
        """What must not depend on how the recording was cut."""
        stream = self.stream
        failure = stream.failure and (type(stream.failure), stream.failure.message)
        return self.shown, failure, stream.stop_reason, stream.usage()

    def answer(self, *, include_usage: bool = True) -> Answer:
        """What the client is told; raises `BrokenGrammar`."""
        usage = {"include_usage": include_usage} if self.dialect == "openai" else {}
        return check(self.dialect, self.shown, lenient=self.lenient, **usage)


def single_bytes(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


class Matrix(unittest.TestCase):
    """The recordings of each provider and each dialect."""

    wholes: ClassVar[dict[tuple[Path, str], Translated]] = {}

    def whole(self, path: Path, dialect: str) -> Translated:
        """The recording fed in one piece; made once."""
        key = path, dialect
        if key not in self.wholes:
            self.wholes[key] = Translated(path, dialect, [path.read_bytes()])
        return self.wholes[key]

    def test_no_recording_is_missing(self) -> None:
        """The recordings are all here: a folder that was moved fails, not passes."""
        for folder, least in FOLDERS.items():
            self.assertGreaterEqual(len(streams(folder)), least, folder)

    def test_tells_what_the_recording_tells(self) -> None:
        """Text, thinking, signatures, calls, stop reason and usage are those of the recording,
        and the stream that tells them breaks no rule of the client's grammar."""
        for path, dialect in CASES:
            with self.subTest(named(path), dialect=dialect):
                told, whole = plainly(path), self.whole(path, dialect)
                self.assertEqual(whole.stream.failure is not None, told.failed)
                self.assertEqual(whole.stream.late_error is not None, told.late)
                self.assertTrue(whole.stream.ended)
                if whole.shown:
                    self.compare(whole, told)
                else:
                    self.assertTrue(told.failed)
                    self.assertEqual((told.text, told.thinking, told.calls), ("", "", []))

    def compare(self, whole: Translated, told: Told) -> None:
        answer, dialect = whole.answer(), whole.dialect
        self.assertEqual(answer.text, told.text.replace(told.code, "") if whole.lenient else told.text)
        if not whole.lenient:
            self.assertEqual(answer.thinking, told.thinking)
            self.assertEqual(answer.model, "the-model")
            if not told.failed:  # else the last call may have been cut
                calls = [(name, json.loads(arguments)) for _, name, arguments in answer.calls]
                self.assertEqual(calls, told.calls)
            if dialect == "claude":
                self.assertEqual(answer.signatures, told.signatures)
        if told.failed:
            self.assertIsNotNone(answer.error)
            return
        self.assertIsNone(answer.error)
        self.assertEqual(answer.stop, self.stop_in(dialect, told.stop, whole))
        if told.usage is not None and not whole.lenient:
            assert answer.usage is not None
            shown = COUNTS[dialect](answer.usage)
            input, cached, output, reasoning = told.usage
            if dialect != "claude":  # which has a word of its own for what was written to a cache
                input += told.written
            self.assertEqual(shown, (input, cached, output, reasoning))

    def stop_in(self, dialect: str, stop: str, whole: Translated) -> str | None:
        if whole.lenient:
            return whole.answer().stop  # the provider's own word, whatever it is
        return STOPS[dialect].get(stop, OTHERWISE.get(dialect, stop))

    def test_usage_only_when_asked(self) -> None:
        """An OpenAI client that did not ask for usage gets none, whatever the provider sent."""
        for path in ALL:
            with self.subTest(named(path)):
                one = Translated(path, "openai", [path.read_bytes()], include_usage=False)
                if one.shown:
                    self.assertIsNone(one.answer(include_usage=False).usage)

    def test_byte_by_byte(self) -> None:
        """A recording that comes one byte at a time gives the same bytes and the same end."""
        for path, dialect in CASES if WHOLE else ONCE:
            with self.subTest(named(path), dialect=dialect):
                one = Translated(path, dialect, single_bytes(path.read_bytes()))
                self.assertEqual(one.told(), self.whole(path, dialect).told())

    def test_every_split(self) -> None:
        """A short recording gives the same wherever it is cut in two."""
        for path, dialect in CASES:
            data = path.read_bytes()
            if len(data) > SHORT:
                continue
            expected = self.whole(path, dialect).told()
            for place in range(1, len(data)):
                one = Translated(path, dialect, [data[:place], data[place:]])
                if one.told() != expected:
                    self.fail(f"{named(path)} into {dialect}: cut at {place} it is another stream")

    def test_random_splits(self) -> None:
        """Whatever pieces a recording comes in give the same."""
        dice = random.Random(8088)
        for path, dialect in CASES:
            data = path.read_bytes()
            expected = self.whole(path, dialect).told()
            for _ in range(SPLITS):
                cuts = sorted(dice.sample(range(len(data)), min(dice.randint(1, 40), len(data))))
                pieces = [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
                if Translated(path, dialect, pieces).told() != expected:
                    self.fail(f"{named(path)} into {dialect}: another stream with the cuts {cuts}")

    def test_pieces_are_whole_events(self) -> None:
        """What a piece of the provider's stream gives is made of whole events, never of parts."""
        for path, dialect in CASES:
            data = path.read_bytes()
            pieces = [data[place : place + 97] for place in range(0, len(data), 97)]
            for part in Translated(path, dialect, pieces).parts:
                self.assertTrue(not part or part.endswith(b"\n\n"), f"{named(path)}: {part[-40:]!r}")


class Cut(unittest.TestCase):
    """Streams that end before they are whole."""

    CUT = (
        ("openai", "gpt-4o-mini-text.sse"),
        ("openai", "obfuscation-text.sse"),
        ("openai", "parallel-tools-agents.sse"),
        ("openai", "azure-gpt-5-mini-text.sse"),
        ("openai", "x-error-mid-stream.sse"),
        ("glm", "mistral-hosted-glm-5.2-incremental-tool.sse"),
        ("glm", "x-sensitive.sse"),
        ("glm", "x-error-mid-stream.sse"),
        ("antigravity", "claude-thinking-text.sse"),
        ("antigravity", "gemini-tool-call.sse"),
        ("antigravity", "cliproxy-text-and-tool.sse"),
        ("antigravity", "wrapped-3pro-text.sse"),
        ("antigravity", "x-error-mid-stream.sse"),
        ("antigravity", "x-prompt-blocked.sse"),
        ("compat", "snowflake-no-finish.sse"),
        ("compat", "x-interleaved-tools.sse"),
        ("compat", "xai-parallel.sse"),
        ("gemini", "25flash-tool-1.sse"),
        ("gemini", "25flash-text.sse"),
        ("gemini", "x-error-mid-stream.sse"),
        ("anthropic", "sonnet4-text.sse"),
        ("anthropic", "haiku45-tool-no-args.sse"),
        ("anthropic", "programmatic-tool-calling-1-turn2.sse"),
        ("anthropic", "x-error-mid-stream.sse"),
    )

    def test_cut_at_every_byte(self) -> None:
        """Cut anywhere before its end marker, a stream fails as truncated, or with the error that
        it held; what was told until then is what the whole one tells. Cut anywhere after it, the
        stream ends well."""
        for path, dialect in CASES if WHOLE else ONCE:
            if WHOLE or (path.parent.name, path.name) in self.CUT:
                with self.subTest(named(path), dialect=dialect):
                    self.cut(path, dialect)

    def cut(self, path: Path, dialect: str) -> None:
        data = path.read_bytes()
        told = plainly(path)
        whole = Translated(path, dialect, [data])
        if not told.failed:
            self.assertLess(told.whole_at, len(data))
        cut_short = ended_well = 0
        for place in range(0, len(data), 1 if len(data) <= BRIEF else len(data) // 500 or 1):
            one = Translated(path, dialect, [data[:place]])
            failure = one.stream.failure
            where = f"cut at {place} of {len(data)}"
            self.assertTrue(one.stream.ended, where)
            if told.failed or place < told.whole_at:
                assert failure is not None, f"{where}: ends well, but was cut"
                self.check_failed(one, whole, where)
                cut_short += isinstance(failure, UpstreamTruncated)
            else:
                self.assertIsNone(failure, where)
                answer = one.answer()
                self.assertEqual(answer.text, told.text.replace(told.code, "") if one.lenient else told.text)
                self.assertIsNone(answer.error, where)
                ended_well += 1
        self.assertGreater(cut_short, 0)
        if len(data) <= BRIEF:
            self.assertEqual(ended_well > 0, not told.failed)

    def check_failed(self, one: Translated, whole: Translated, where: str) -> None:
        failure = one.stream.failure
        if not isinstance(failure, UpstreamTruncated):
            self.assertEqual(str(failure), str(whole.stream.failure), where)
        self.assertTrue(whole.data.startswith(one.data), f"{where}: tells what the whole stream does not")
        if one.shown:
            answer = one.answer()
            self.assertIsNotNone(answer.error, where)
            self.assertIsNone(answer.stop, where)


def claude_counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    """(input, cached, output, reasoning) as a Claude client is told them."""
    reasoning = usage.get("output_tokens_details", {}).get("thinking_tokens", 0)
    return usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"], reasoning


def openai_counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    return usage["prompt_tokens"] - cached, cached, usage["completion_tokens"], reasoning


def responses_counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    cached = usage["input_tokens_details"]["cached_tokens"]
    reasoning = usage["output_tokens_details"]["reasoning_tokens"]
    return usage["input_tokens"] - cached, cached, usage["output_tokens"], reasoning


def gemini_counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    cached, thoughts = usage.get("cachedContentTokenCount", 0), usage.get("thoughtsTokenCount", 0)
    return usage["promptTokenCount"] - cached, cached, usage["candidatesTokenCount"] + thoughts, thoughts


COUNTS = {
    "claude": claude_counts,
    "openai": openai_counts,
    "responses": responses_counts,
    "gemini": gemini_counts,
}
