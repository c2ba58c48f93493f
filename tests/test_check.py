"""The written grammars: a good stream of each dialect passes, and each rule has a stream that breaks it."""

from __future__ import annotations

import ast
import copy
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import aigateway.check
from aigateway.check import (
    CHECKS,
    Answer,
    BrokenGrammar,
    check,
    check_claude,
    check_gemini,
    check_openai,
    check_responses,
)
from aigateway.check.__main__ import guess, main

from .broken_streams import (
    BROKEN,
    FAULT,
    FRAMING,
    KEPT,
    LENGTH,
    OTHERWISE,
    SHORT,
    STILL_BROKEN,
    add,
    ended,
    less,
    put,
    reset,
)
from .good_streams import (
    CLAUDE,
    ERRORS,
    GEMINI,
    GOOD,
    MESSAGE,
    OPENAI,
    OPENAI_CUSTOM,
    PLAIN,
    REASONING,
    RESPONSES,
    RESPONSES_ERROR,
    STARTS,
    TOLD,
    Events,
    around,
    block,
    claude,
    framed,
    gemini,
    input_json,
    numbered,
    part,
    response,
    says,
)
from .recordings import FIXTURES


class Good(unittest.TestCase):
    def told(self, answer: Answer) -> tuple[object, ...]:
        calls = [(name, arguments) for _, name, arguments in answer.calls]
        return answer.text, answer.thinking, calls, answer.stop, answer.error

    def test_claude(self) -> None:
        """What a Claude stream tells: blocks in their order, calls, the reason and the last usage."""
        answer = check_claude(framed("claude", CLAUDE))
        self.assertEqual(self.told(answer), ("Hi", "Hm", [("f", '{"a":1}')], "tool_use", None))
        self.assertEqual(answer.blocks, [("thinking", "Hm"), ("text", "Hi"), ("tool_use", '{"a":1}')])
        self.assertEqual((answer.id, answer.model, answer.signatures), ("msg_1", "m", ["sig"]))
        self.assertEqual(answer.usage, CLAUDE[-2]["usage"])

    def test_openai(self) -> None:
        """What an OpenAI stream tells, with usage asked for or as the first chunk says."""
        for include_usage in (True, None):
            answer = check_openai(framed("openai", OPENAI), include_usage=include_usage)
            calls = [("f", "{}"), ("f", '{"a":1}')]
            self.assertEqual(self.told(answer), ("Hi", "Hm", calls, "tool_calls", None))
            self.assertEqual(answer.usage, OPENAI[-1]["usage"])

    def test_openai_custom_calls(self) -> None:
        """Calls of custom tools have an input, which may be empty, and no arguments."""
        for lenient in (False, True):
            answer = check_openai(framed("openai", OPENAI_CUSTOM), lenient=lenient)
            calls = [("call_0", "f", "{}"), ("call_1", "g", "ls"), ("call_2", "g", "")]
            self.assertEqual(answer.calls, calls)

    def test_openai_without_usage(self) -> None:
        """Where no usage was asked for there is none, nor a chunk for it."""
        events = [{name: event[name] for name in event if name != "usage"} for event in SHORT[:-1]]
        self.assertIsNone(check_openai(framed("openai", events), include_usage=False).usage)
        self.assertIsNone(check_openai(framed("openai", events)).usage)

    def test_responses(self) -> None:
        """What a Responses stream tells: reasoning, text, calls of both kinds, usage."""
        answer = check_responses(framed("responses", RESPONSES))
        calls = [("f", "{}"), ("g", "ls -l")]
        self.assertEqual(self.told(answer), ("Hi", "Hm", calls, "completed", None))
        self.assertEqual((answer.id, answer.model, answer.signatures), ("resp_1", "m", ["sig"]))
        self.assertEqual(answer.usage, RESPONSES[-1]["response"]["usage"])

    def test_responses_refusal_and_reasoning_text(self) -> None:
        """A refusal is text, a reasoning told in full is thinking; annotations come before the text ends."""
        refusal = {"type": "refusal", "refusal": "No"}
        full = {"type": "reasoning_text", "text": "Because"}
        refused = MESSAGE | {"content": [refusal]}
        thought = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [full]}
        events = [
            *around(
                0, thought | {"content": []}, part("rs_1", 0, "content", "reasoning_text", full), thought
            ),
            *around(
                1,
                MESSAGE | {"content": [], "status": "in_progress"},
                part("msg_1", 1, "content", "refusal", refusal, "refusal"),
                refused,
            ),
        ]
        answer = check_responses(framed("responses", ended("completed", [thought, refused], *events)))
        self.assertEqual((answer.text, answer.thinking), ("No", "Because"))

    def test_responses_other_ends(self) -> None:
        """An incomplete response says why; a failed one is an error, and breaks off what is open."""
        answer = check_responses(framed("responses", ended("incomplete", [], incomplete_details=LENGTH)))
        self.assertEqual((answer.stop, answer.error), ("max_output_tokens", None))
        events = ended("failed", [REASONING], *TOLD[:10], error=FAULT, usage=None)
        answer = check_responses(framed("responses", events))
        self.assertEqual((answer.stop, answer.error, answer.text), (None, FAULT, "H"))
        nested = {"type": "error", "error": FAULT | {"type": "server_error", "param": None}}
        failed = {"type": "response.failed", "response": response("failed", [], error=FAULT)}
        for events in ([*STARTS, nested], [*STARTS, nested, failed], [STARTS[0], failed], [RESPONSES_ERROR]):
            answer = check_responses(framed("responses", numbered(events)))
            assert answer.error is not None
            self.assertEqual((answer.stop, answer.error["message"]), (None, "Busy"))

    def test_gemini(self) -> None:
        """What a Gemini stream tells, in frames of either line end, or as an array."""
        frames = framed("gemini", GEMINI)
        for data in (frames, frames.replace(b"\n", b"\r\n"), json.dumps(GEMINI, indent=1).encode()):
            answer = check_gemini(data)
            self.assertEqual(self.told(answer), ("Hi", "Hm", [("f", '{"a": 1}')], "STOP", None))
            self.assertEqual((answer.id, answer.model, answer.signatures), ("r1", "m", ["sig"]))
            self.assertEqual(answer.usage, GEMINI[-1]["usageMetadata"])
        one = json.dumps(GEMINI[1])
        self.assertEqual(check_gemini(f"[{one},\r\n{one}".encode(), whole=False).text, "HiHi")

    def test_gemini_blocked(self) -> None:
        """A prompt that was blocked is a whole answer, without a candidate."""
        events = [GEMINI[-1] | {"promptFeedback": {"blockReason": "SAFETY"}}]
        self.assertEqual(check_gemini(framed("gemini", events)).stop, "SAFETY")

    def test_an_error_ends(self) -> None:
        """An error ends a stream of any dialect, at its beginning or within."""
        for dialect, events in GOOD.items():
            for place in (0, 2):
                told = [*events[:place], ERRORS[dialect]]
                if dialect == "responses":
                    told = numbered(told)
                with self.subTest(dialect, place=place):
                    answer = check(dialect, framed(dialect, told, ""))
                    assert answer.error is not None
                    self.assertEqual((answer.stop, answer.error["message"]), (None, "Busy"))

    def test_comments(self) -> None:
        """Comments may stand between frames; in a Claude stream before its start alone."""
        for dialect, events in GOOD.items():
            data = framed(dialect, events)
            self.assertEqual(check(dialect, b": ping\n\n: ping\n\n" + data).comments, 2)
            first, _, rest = data.partition(b"\n\n")
            later = first + b"\n\n: ping\n\n" + rest
            if dialect == "claude":
                with self.assertRaisesRegex(BrokenGrammar, "frame 2: a comment after message_start"):
                    check(dialect, later)
            else:
                self.assertEqual(check(dialect, later).comments, 1)

    def test_cut_short(self) -> None:
        """A stream that stops between two frames is good as far as it goes, and not whole."""
        for dialect, events in GOOD.items():
            before_end = len(events) - (1 if dialect == "gemini" else 0)  # its last chunk has usage alone
            for place in range(1, before_end):
                data = framed(dialect, events[:place], "")
                with self.subTest(dialect, place=place):
                    check(dialect, data, whole=False)
                    with self.assertRaisesRegex(BrokenGrammar, "stops without"):
                        check(dialect, data)


class Broken(unittest.TestCase):
    def test_each_rule(self) -> None:
        """Each rule has a stream that breaks it, and the error says which."""
        for dialect, broken in BROKEN.items():
            for label, (events, rule) in broken.items():
                with self.subTest(dialect, case=label):
                    with self.assertRaises(BrokenGrammar) as caught:
                        check(dialect, framed(dialect, events))
                    self.assertIn(rule, caught.exception.rule)

    def test_otherwise(self) -> None:
        """Ends, event lines, comments and arrays have rules of their own."""
        for dialect, data, options, rule in OTHERWISE:
            with self.subTest(dialect, data=data[-60:]), self.assertRaises(BrokenGrammar) as caught:
                check(dialect, data, **options)
            self.assertIn(rule, caught.exception.rule)

    def test_no_rule_goes_unbroken(self) -> None:
        """Each rule that is written in a grammar is broken by one of the streams here."""
        tried: list[tuple[str, bytes, dict[str, bool]]] = [
            *(
                (dialect, framed(dialect, events), {})
                for dialect in BROKEN
                for events, _ in BROKEN[dialect].values()
            ),
            *((dialect, framed(dialect, events), {"lenient": True}) for dialect, events, _ in STILL_BROKEN),
            *(("claude", data, {}) for data, _ in FRAMING),
            *((dialect, data, options) for dialect, data, options, _ in OTHERWISE),
        ]
        broken = set[str]()
        for dialect, data, options in tried:
            with self.assertRaises(BrokenGrammar) as caught:
                check(dialect, data, **options)
            broken.add(caught.exception.rule)
        rules = written_rules()
        self.assertGreater(len(rules), 120)
        for rule in rules:
            with self.subTest(rule):
                self.assertTrue(any(re.fullmatch(rule, one) for one in broken))

    def test_the_frame_is_named(self) -> None:
        """The error names the frame, by its number, and shows it, shortened and in ASCII."""
        events = put(PLAIN, "2/delta/text", 5)
        events = put(events, "2/delta/odd", "ä\x1b" * 500)
        with self.assertRaises(BrokenGrammar) as caught:
            check_claude(b": hello\n\n" + framed("claude", events))
        self.assertEqual(caught.exception.frame, 4)
        first, shown = str(caught.exception).split("\n")
        self.assertEqual(first, "frame 4: delta: has odd, which is unknown")
        self.assertIn("content_block_delta {", shown)
        self.assertTrue(shown[:-1].isascii())
        self.assertLess(len(shown), 300)

    def test_framing(self) -> None:
        """The gateway's frames: LF, one data line behind at most one event line, UTF-8, strict JSON."""
        for data, rule in FRAMING:
            for dialect in ("claude", "openai", "responses", "gemini"):
                with self.subTest(dialect, data=data), self.assertRaises(BrokenGrammar) as caught:
                    check(dialect, data)
                self.assertIn(rule, caught.exception.rule)

    def test_many_line_ends(self) -> None:
        """What is no frame takes no longer than what is."""
        began = time.perf_counter()
        for data in (b"\n" * 200_000, b"data: {}\n\n" + b"\n" * 200_000 + b"x"):
            for dialect in CHECKS:
                with self.assertRaises(BrokenGrammar):
                    check(dialect, data)
        self.assertLess(time.perf_counter() - began, 4.0)

    def test_never_another_error(self) -> None:
        """Whatever is in a frame, a stream passes or breaks a rule: no other error comes."""
        dice = random.Random(8088)
        values: list[Any] = [None, True, -1, 1.5, "", "x", [], [1], {}, {"type": "text"}, [[]], {"text": 1}]
        for dialect, events in GOOD.items():
            for _ in range(600):
                changed = spoil(copy.deepcopy(events), dice, values)
                for lenient in (False, True):
                    try:
                        check(dialect, framed(dialect, changed), lenient=lenient)
                    except BrokenGrammar as broken:
                        self.assertTrue(broken.rule)
                        self.assertTrue(str(broken))


def written_rules() -> set[str]:
    """Every rule that is written in the grammars, as a pattern."""
    rules = set[str]()
    for file in Path(aigateway.check.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "demand":
                rule = node.args[1]
                assert isinstance(rule, ast.Constant), ast.unparse(node)
                rules.add(".*".join(map(re.escape, str(rule.value).split("{}"))))
    return rules


def spoil(value: Any, dice: random.Random, values: list[Any]) -> Any:
    """``value`` with something in it lost, doubled, or replaced by one of ``values``."""
    places: list[tuple[Any, Any]] = []

    def walk(at: Any) -> None:
        for key in list(at) if isinstance(at, dict) else range(len(at)):
            places.append((at, key))
            if isinstance(at[key], dict | list):
                walk(at[key])

    walk(value)
    at, key = dice.choice(places)
    if at is value:
        value.insert(dice.randrange(len(value)), value.pop(key))
    elif dice.random() < 0.2:
        del at[key]
    else:
        at[key] = copy.deepcopy(dice.choice(values))
    return value


FAULTY = {"x-duplicate-message-start.sse", "x-spliced-message-start.sse"}
SPEAKS = {
    "anthropic": "claude",
    "antigravity": "gemini",
    "compat": "openai",
    "gemini": "gemini",
    "glm": "openai",
    "openai": "openai",
}


class Lenient(unittest.TestCase):
    def test_recordings(self) -> None:
        """What providers really sent passes, and tells something; what was spliced wrongly does not."""
        passed = 0
        for path in sorted(FIXTURES.glob("*/*.sse")):
            dialect = SPEAKS.get(path.parent.name)
            if dialect is None or path.name == "x-sse-torture.sse":
                continue
            data = path.read_bytes()
            with self.subTest(f"{path.parent.name}/{path.name}"):
                if path.name in FAULTY:
                    with self.assertRaisesRegex(BrokenGrammar, "a second message_start"):
                        check(dialect, data, lenient=True)
                    continue
                answer = check(dialect, data, lenient=True)
                self.assertTrue(answer.stop or answer.error or path.name.startswith("snowflake"))
                if not path.name.startswith("x-error"):  # an error alone may be anybody's
                    self.assertEqual(guess(data), dialect)
                passed += 1
        self.assertGreater(passed, 140)

    def test_good_streams(self) -> None:
        """What passes strictly passes leniently, and tells the same."""
        for dialect, events in GOOD.items():
            data = framed(dialect, events)
            self.assertEqual(check(dialect, data, lenient=True), check(dialect, data))

    def test_framing(self) -> None:
        """Lenient reads any legal framing: CRLF or CR, data in several lines, ids, a BOM, no space, no
        blank line at the end, an error in a field of that name."""
        good = framed("gemini", GEMINI)
        want = check_gemini(good)
        for data in (
            good.replace(b"\n", b"\r\n"),
            good.replace(b"\n", b"\r"),
            good.replace(b"data: {", b"id: 1\nretry: 5\nevent: message\ndata:{\ndata: "),
            b"\xef\xbb\xbf" + good[:-2],
            good.replace(b"\n\n", b"\n\n\n\n"),
        ):
            self.assertEqual(check_gemini(data, lenient=True), want)
        error = b'error: {"message": "Busy"}\n\n'
        self.assertEqual(check_openai(error, lenient=True).error, {"message": "Busy"})

    def test_unknown_is_let_pass(self) -> None:
        """Fields, events, blocks, items and reasons that nobody knows are let pass."""
        odd: Events = [{"type": "odd", "index": 9}]
        events = add(put(CLAUDE, "0/message/odd", 1), 3, *odd)
        events = put(events, "-2/delta/stop_reason", "odd")
        self.assertEqual(check_claude(framed("claude", events), lenient=True).stop, "odd")
        server = block({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}, input_json("{}"))
        result = block({"type": "odd_tool_result", "content": []}, {"type": "odd_delta"})
        cited = block({"type": "text", "text": ""}, {"type": "citations_delta", "citation": {}})
        self.assertEqual(
            check_claude(framed("claude", claude(server, result, cited)), lenient=True).calls, []
        )
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
        events = [
            {"type": "response.output_item.added", "output_index": 0, "item": search},
            {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
            {"type": "response.output_item.done", "output_index": 0, "item": search},
        ]
        answer = check_responses(framed("responses", ended("completed", [search], *events)), lenient=True)
        self.assertEqual(answer.stop, "completed")
        self.assertEqual(check_gemini(framed("gemini", put(GEMINI, "0/odd", 1)), lenient=True).stop, "STOP")

    def test_responses_as_recorded(self) -> None:
        """OpenAI encrypts a reasoning anew in the final response; some leave out numbers and deltas."""
        events = reset("response/output/0/encrypted_content", "other", "completed")
        self.assertEqual(check_responses(framed("responses", events), lenient=True).stop, "completed")
        events = less("custom_tool_call_input.done")
        events = [{name: one[name] for name in one if name != "sequence_number"} for one in events]
        self.assertEqual(check_responses(framed("responses", events), lenient=True).calls[1][2], "ls -l")
        bare = [event for event in RESPONSES if ".delta" not in event["type"]]
        data = framed("responses", numbered(bare))
        self.assertEqual(check_responses(data, lenient=True).text, "Hi")

    def test_pieces_of_a_call(self) -> None:
        """Vertex tells a call in pieces; they are kept as they are."""
        pieces = [{"jsonPath": "$.a", "stringValue": "x"}]
        answer = check_gemini(
            framed(
                "gemini",
                gemini(
                    says({"functionCall": {"name": "f", "willContinue": True}}),
                    says({"functionCall": {"partialArgs": pieces, "willContinue": True}}),
                    says({"functionCall": {}}, finishReason="STOP"),
                ),
            ),
            lenient=True,
        )
        self.assertEqual(answer.calls, [("", "f", json.dumps(pieces))])

    def test_structure_is_still_checked(self) -> None:
        """Order, nesting, indices, ids and texts that disagree are faults of any provider."""
        for dialect, labels in KEPT.items():
            for label in labels.split(", "):
                events, _ = BROKEN[dialect][label]
                with self.subTest(dialect, case=label), self.assertRaises(BrokenGrammar):
                    check(dialect, framed(dialect, events), lenient=True)
        for dialect, events, rule in STILL_BROKEN:
            with self.subTest(rule), self.assertRaises(BrokenGrammar) as caught:
                check(dialect, framed(dialect, events), lenient=True)
            self.assertIn(rule, caught.exception.rule)


class Command(unittest.TestCase):
    def run_on(self, data: bytes, *arguments: str) -> tuple[int, str]:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            out = io.StringIO()
            with redirect_stdout(out):
                status = main([*arguments, file.name])
        return status, out.getvalue()

    def test_summary(self) -> None:
        """A good stream is told in one line, its dialect guessed; the status is 0."""
        for dialect, events in GOOD.items():
            status, out = self.run_on(framed(dialect, events))
            self.assertEqual((status, out.count("\n")), (0, 1))
            self.assertTrue(
                out.startswith(f"{dialect}: {len(events)} frames, text 2, thinking 2, calls "), out
            )
        self.assertIn("stop completed, usage input_tokens=3", self.run_on(framed("responses", RESPONSES))[1])
        self.assertIn("calls 1 (f), stop STOP", self.run_on(json.dumps(GEMINI).encode())[1])

    def test_errors_are_guessed(self) -> None:
        """A stream that is nothing but an error tells its dialect too."""
        for dialect, event in ERRORS.items():
            told = [event | {"sequence_number": 0}] if dialect == "responses" else [event]
            status, out = self.run_on(framed(dialect, told, ""))
            self.assertEqual(status, 0, out)
            self.assertIn(f"{dialect}: ", out)
            self.assertIn("Busy", out)

    def test_broken(self) -> None:
        """The rule that is broken is told, with the frame; the status is 1."""
        status, out = self.run_on(framed("claude", put(PLAIN, "1/index", 1)))
        self.assertEqual(status, 1)
        self.assertIn("claude: broken: frame 2: index 1, wants 0\n    content_block_start {", out)
        self.assertEqual(self.run_on(b"")[1], "no dialect: broken: no frame tells which dialect this is\n")

    def test_options(self) -> None:
        """The dialect can be given; --lenient and --cut do what they say."""
        data = framed("claude", put(PLAIN[:-1], "0/message/odd", 1))
        self.assertIn("has odd", self.run_on(data)[1])
        self.assertIn("stops without", self.run_on(data, "--lenient")[1])
        self.assertEqual(self.run_on(data, "--lenient", "--cut")[0], 0)
        self.assertIn("openai: broken", self.run_on(data, "--dialect", "openai")[1])

    def test_standard_input(self) -> None:
        """The command reads the standard input where no file is named."""
        done = subprocess.run(
            [sys.executable, "-m", "aigateway.check"],
            cwd=Path(aigateway.__file__).parents[1],
            input=framed("openai", OPENAI),
            capture_output=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(done.stdout.startswith(b"openai: "))


class Apart(unittest.TestCase):
    def test_imports(self) -> None:
        """The grammars import nothing of the package but each other: they cannot share its mistakes."""
        for file in Path(aigateway.check.__file__).parent.glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom):
                    self.assertLessEqual(node.level, 1, file.name)
                    self.assertFalse(
                        node.level == 0 and (node.module or "").startswith("aigateway"), file.name
                    )

    def test_every_dialect(self) -> None:
        """Each dialect has its grammar under its name."""
        self.assertEqual(set(CHECKS), {"claude", "openai", "responses", "gemini"})
        calls: list[Callable[..., Answer]] = [check_claude, check_openai, check_responses, check_gemini]
        self.assertEqual(list(CHECKS.values()), calls)
