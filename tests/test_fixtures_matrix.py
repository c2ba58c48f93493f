"""Every recorded stream of every provider, into both dialects, however it is cut."""

from __future__ import annotations

import itertools
import json
import random
import re
import unittest
from pathlib import Path
from typing import Any, ClassVar

from aigateway.dialects import DIALECTS
from aigateway.errors import UpstreamTruncated
from aigateway.translate import Translator

from .checkers import Answer, check_claude, check_openai
from .recordings import FINISHES, Told, ask, kind_of, plainly, streams

OWN = streams("openai", "glm", "antigravity")
ALL = OWN + streams("compat")
SHORT = 3000
"""Up to this size a recording is cut at every place."""

_MADE_UP = re.compile(rb"toolu_[0-9a-f]{24}")


class Translated:
    """One recording, in pieces, as a client of ``dialect`` gets it: ``data`` is the answer, without
    made-up ids, ``shown`` the same with the error frame where it failed."""

    def __init__(self, path: Path, dialect: str, pieces: list[bytes], include_usage: bool = True) -> None:
        chat = ask(dialect, include_usage=include_usage)
        writer = DIALECTS[dialect].writer(chat, "req_1", 1700000000)
        kind = kind_of(path)
        self.stream = Translator(chat, kind.reader(), writer, kind.parse_reply)
        self.parts = [self.stream.feed(piece) for piece in pieces]
        self.parts.append(self.stream.end())
        ids: dict[bytes, bytes] = {}
        self.data = _MADE_UP.sub(
            lambda found: ids.setdefault(found[0], b"made-up-%d" % len(ids)), b"".join(self.parts)
        )
        failure = self.stream.failure if self.data else None
        self.shown = self.data if failure is None else self.data + writer.fail(failure)

    def told(self) -> tuple[object, ...]:
        """What must not depend on how the recording was cut."""
        stream = self.stream
        failure = stream.failure and (type(stream.failure), stream.failure.message)
        return self.shown, failure, stream.stop_reason, stream.usage()


def answer_of(dialect: str, data: bytes, include_usage: bool = True) -> Answer:
    if dialect == "claude":
        return check_claude(data)
    return check_openai(data, include_usage=include_usage)


def single_bytes(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


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
        self.assertEqual(len(streams("openai")), 23)
        self.assertEqual(len(streams("glm")), 20)
        self.assertGreaterEqual(len(streams("antigravity")), 19)
        self.assertGreaterEqual(len(streams("compat")), 40)

    def test_tells_what_the_recording_tells(self) -> None:
        """Text, thinking, signatures, calls, stop reason and usage are those of the recording,
        and the stream that tells them breaks no rule of the client's grammar."""
        for path, dialect in itertools.product(ALL, DIALECTS):
            with self.subTest(f"{path.parent.name}/{path.name}", dialect=dialect):
                told, whole = plainly(path), self.whole(path, dialect)
                self.assertEqual(whole.stream.failure is not None, told.failed)
                self.assertEqual(whole.stream.late_error is not None, told.late)
                self.assertTrue(whole.stream.ended)
                if whole.shown:
                    self.compare(dialect, answer_of(dialect, whole.shown), told)
                else:
                    self.assertTrue(told.failed)
                    self.assertEqual((told.text, told.thinking, told.calls), ("", "", []))

    def compare(self, dialect: str, answer: Answer, told: Told) -> None:
        self.assertEqual(answer.text, told.text)
        self.assertEqual(answer.thinking, told.thinking)
        calls = [(name, json.loads(arguments)) for _, name, arguments in answer.calls]
        self.assertEqual(calls, told.calls)
        self.assertEqual(answer.model, "the-model")
        if dialect == "claude":
            self.assertEqual(answer.signatures, told.signatures)
        else:
            self.assertLessEqual(set(answer.signatures), set(told.signatures))
        if told.failed:
            self.assertIsNotNone(answer.error)
            return
        self.assertIsNone(answer.error)
        assert answer.usage is not None
        if dialect == "claude":
            self.assertEqual(answer.stop, told.stop)
            shown = claude_counts(answer.usage)
        else:
            self.assertEqual(answer.stop, FINISHES[told.stop])
            shown = openai_counts(answer.usage)
        if told.usage is not None:
            self.assertEqual(shown, told.usage)
        else:
            self.assertGreater(shown[0], 0)  # an estimate

    def test_usage_only_when_asked(self) -> None:
        """An OpenAI client that did not ask for usage gets none, whatever the provider sent."""
        for path in OWN:
            with self.subTest(path.name):
                one = Translated(path, "openai", [path.read_bytes()], include_usage=False)
                if one.shown:
                    self.assertIsNone(check_openai(one.shown, include_usage=False).usage)

    def test_byte_by_byte(self) -> None:
        """A recording that comes one byte at a time gives the same bytes and the same end."""
        for path, dialect in itertools.product(ALL, DIALECTS):
            with self.subTest(f"{path.parent.name}/{path.name}", dialect=dialect):
                one = Translated(path, dialect, single_bytes(path.read_bytes()))
                self.assertEqual(one.told(), self.whole(path, dialect).told())

    def test_every_split(self) -> None:
        """A short recording gives the same wherever it is cut in two."""
        for path, dialect in itertools.product(ALL, DIALECTS):
            data = path.read_bytes()
            if len(data) > SHORT:
                continue
            expected = self.whole(path, dialect).told()
            for place in range(1, len(data)):
                one = Translated(path, dialect, [data[:place], data[place:]])
                if one.told() != expected:
                    self.fail(f"{path.name} into {dialect}: cut at {place} it is another stream")

    def test_random_splits(self) -> None:
        """Fifty ways of cutting a recording into pieces give the same."""
        dice = random.Random(8088)
        for path, dialect in itertools.product(ALL, DIALECTS):
            data = path.read_bytes()
            expected = self.whole(path, dialect).told()
            for _ in range(50):
                cuts = sorted(dice.sample(range(len(data)), min(dice.randint(1, 40), len(data))))
                pieces = [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
                if Translated(path, dialect, pieces).told() != expected:
                    self.fail(f"{path.name} into {dialect}: another stream with the cuts {cuts}")

    def test_pieces_are_whole_events(self) -> None:
        """What a piece of the provider's stream gives is made of whole events, never of parts."""
        for path, dialect in itertools.product(OWN, DIALECTS):
            data = path.read_bytes()
            pieces = [data[place : place + 97] for place in range(0, len(data), 97)]
            for part in Translated(path, dialect, pieces).parts:
                self.assertTrue(not part or part.endswith(b"\n\n"), f"{path.name}: {part[-40:]!r}")


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
    )

    def test_cut_at_every_byte(self) -> None:
        """Cut anywhere before its finish reason, or [DONE], a stream fails as truncated, or with the
        error that it held; what was told until then is what the whole one tells. Cut anywhere
        after it, the stream ends well."""
        for (folder, name), dialect in itertools.product(self.CUT, DIALECTS):
            (path,) = [path for path in streams(folder) if path.name == name]
            with self.subTest(f"{folder}/{name}", dialect=dialect):
                self.cut(path, dialect)

    def cut(self, path: Path, dialect: str) -> None:
        data = path.read_bytes()
        told = plainly(path)
        whole = Translated(path, dialect, [data])
        if not told.failed:
            self.assertLess(told.whole_at, len(data))
        cut_short = ended_well = 0
        for place in range(len(data)):
            one = Translated(path, dialect, [data[:place]])
            failure = one.stream.failure
            where = f"cut at {place} of {len(data)}"
            self.assertTrue(one.stream.ended, where)
            if told.failed or place < told.whole_at:
                assert failure is not None, f"{where}: ends well, but was cut"
                self.check_failed(dialect, one, whole, where)
                cut_short += isinstance(failure, UpstreamTruncated)
            else:
                self.assertIsNone(failure, where)
                answer = answer_of(dialect, one.data)
                self.assertEqual((answer.text, answer.thinking), (told.text, told.thinking), where)
                self.assertIsNone(answer.error, where)
                ended_well += 1
        self.assertGreater(cut_short, 100)
        self.assertEqual(ended_well > 0, not told.failed)

    def check_failed(self, dialect: str, one: Translated, whole: Translated, where: str) -> None:
        failure = one.stream.failure
        if not isinstance(failure, UpstreamTruncated):
            self.assertEqual(str(failure), str(whole.stream.failure), where)
        self.assertTrue(whole.data.startswith(one.data), f"{where}: tells what the whole stream does not")
        if one.shown:
            answer = answer_of(dialect, one.shown)
            self.assertIsNotNone(answer.error, where)
            self.assertIsNone(answer.stop, where)


def claude_counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    """(input, cached, output, reasoning) as a Claude client is told them. What was written to a
    cache is in no recording of these providers' streams."""
    reasoning = usage.get("output_tokens_details", {}).get("thinking_tokens", 0)
    return usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"], reasoning


def openai_counts(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    return usage["prompt_tokens"] - cached, cached, usage["completion_tokens"], reasoning
