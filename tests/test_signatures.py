"""What models sign: found in answers, kept within bounds, given back to their own client and family
alone."""

from __future__ import annotations

import json
import unittest
from base64 import urlsafe_b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.dialects import CLAUDE, GEMINI, OPENAI, RESPONSES, ClientDialect
from aigateway.events import (
    BlockEnded,
    BlockStarted,
    ChatReply,
    ChatRequest,
    Event,
    Finished,
    InputDelta,
    Message,
    RedactedThinkingBlock,
    RequestBlock,
    SignatureDelta,
    Started,
    TextBlock,
    ThinkingBlock,
    ThinkingDelta,
    Thought,
    ToolUseBlock,
    events_of,
)
from aigateway.signatures import (
    MADE,
    MAX_KEPT,
    OVERHEAD,
    Recorder,
    SignatureStore,
    call_key,
    pack,
    recorded,
    signature_key,
    text_key,
    unpack,
)

from .made_up import answers

CALL = ToolUseBlock("a", "look", "{}")
OTHER_CALL = ToolUseBlock("b", "look", "{}")
THIRD = ToolUseBlock("c", "look", "{}")


def called(input: str, id: str = "a", name: str = "look") -> str:
    return call_key(ToolUseBlock(id, name, input))


def made(*signatures: str) -> dict[str, Thought]:
    """What is kept to know ``signatures`` by."""
    return dict.fromkeys(map(signature_key, signatures), MADE)


def found(reply: ChatReply, family: str) -> dict[str, Thought]:
    """What is kept of an answer for the clients that send nothing back."""
    return {key: thought for key, thought in recorded(reply, family).items() if thought is not MADE}


def reply(*blocks: TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock) -> ChatReply:
    return ChatReply(id="", model="", content=blocks, stop_reason="end_turn")


def chat(*blocks: RequestBlock, role: str = "assistant") -> ChatRequest:
    return ChatRequest(dialect="claude", model="m", messages=(Message(role, blocks),))


def signed(signature: str, thinking: str = "") -> Thought:
    return Thought((ThinkingBlock(thinking, signature),))


def whole_calls(events: list[Event]) -> list[ToolUseBlock]:
    """The calls that came to their end."""
    calls: list[ToolUseBlock] = []
    opened, pieces = BlockStarted(""), [""]
    for event in events:
        if isinstance(event, BlockStarted):
            opened, pieces = event, []
        elif isinstance(event, InputDelta):
            pieces.append(event.json)
        elif isinstance(event, BlockEnded) and opened.type == "tool_use":
            calls.append(ToolUseBlock(opened.id, opened.name, "".join(pieces)))
    return calls


def said_by(dialect: ClientDialect, call: ToolUseBlock, id: str) -> ToolUseBlock:
    """``call`` as a client of ``dialect`` sends it back, having decoded it and encoded it anew."""
    asked = ChatRequest(dialect=dialect.name, model="m", messages=())
    answered = ChatReply(id=id, model="m", content=(call,), stop_reason="tool_use")
    told: Any = json.loads(dialect.render_reply(answered, asked, id, 1))
    body: dict[str, object] = {"model": "m"}
    if dialect is CLAUDE:
        body |= {"max_tokens": 9, "messages": [{"role": "assistant", "content": told["content"]}]}
    elif dialect is OPENAI:
        body["messages"] = [told["choices"][0]["message"]]
    elif dialect is RESPONSES:
        body["input"] = told["output"]
    else:
        body["contents"] = [told["candidates"][0]["content"]]
    raw = json.dumps(body, sort_keys=True, indent=1).encode()
    parsed = dialect.parse_request(raw)
    (block,) = (
        one for message in parsed.messages for one in message.content if isinstance(one, ToolUseBlock)
    )
    return block


_values = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Keys(unittest.TestCase):
    def test_the_whole_call(self) -> None:
        """A call is known by its id, its name and its input: calls that are counted from 0 in each
        conversation are told apart."""
        keys = {
            called('{"a":1}', "functions.look:0"),
            called('{"a":2}', "functions.look:0"),
            called('{"a":1}', "functions.look:1"),
            called('{"a":1}', "functions.look:0", "find"),
            called("[1]", "functions.look:0"),
        }
        self.assertEqual(len(keys), 5)

    def test_what_clients_write_anew(self) -> None:
        """The order of names, blanks, escapes and the spelling of numbers make no difference: clients
        decode a call's input and encode it anew, some in JavaScript."""
        for one, *others in (
            ('{"a":1,"b":{"c":2,"d":[]}}', '{ "b": {"d": [], "c": 2}, "a": 1 }'),
            ('{"a":"\u00e9\u2028"}', '{"a":"é\\u2028"}', '{"a":"\\u00E9\\u2028"}'),
            ('{"a":1.0}', '{"a":1}', '{"a":1e0}', '{"a":10.0e-1}'),
            ('{"a":-0}', '{"a":0}', '{"a":-0.0}'),
            ('{"a":12345678901234567890}', '{"a":12345678901234567000}', '{"a":1.2345678901234567e19}'),
            ("{}", "", "  ", "{ }"),
        ):
            for other in others:
                self.assertEqual(called(one), called(other), other)
        for one, other in (('{"a":1}', '{"a":"1"}'), ('{"a":1}', '{"a":true}'), ('{"a":null}', "{}")):
            self.assertNotEqual(called(one), called(other))

    def test_what_is_no_object(self) -> None:
        """Such an input is the text itself, and the same where a parser has put it under ``_raw``."""
        for text in ("look here", '{"a":', "[1]", '"x"', "\ud800", "[" * 100_000, "1" * 5000, "NaN"):
            self.assertEqual(called(text), called(json.dumps({"_raw": text})), text[:9])
        self.assertNotEqual(called("[1]"), called("[1.0]"))
        self.assertEqual(called('{"a":1,"a":2}'), called(json.dumps({"_raw": '{"a":1,"a":2}'})))

    def test_by_every_client(self) -> None:
        """A call that a client sends back has the key of the call that it was given, in every dialect."""
        inputs = '{"z": 1.0, "a": ["é", {"c": -0, "b": null}], "n": 12345678901234567}', "{}", "broken {"
        for dialect in (CLAUDE, OPENAI, RESPONSES, GEMINI):
            for input in inputs:
                with self.subTest(dialect.name, input=input):
                    call = ToolUseBlock("functions.look:0", "look", input)
                    self.assertEqual(call_key(said_by(dialect, call, "req_1")), call_key(call))

    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(st.text(), _values, max_size=3))
    def test_any_input(self, value: dict[str, Any]) -> None:
        """Whatever the input, it is the same however it is written."""
        written = json.dumps(value), json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2)
        self.assertEqual(*map(called, written))

    def test_signatures(self) -> None:
        """A signature is the same in both alphabets of base64, padded or not: Google's SDK for Python
        encodes it anew."""
        self.assertEqual(signature_key("+/8A+w=="), signature_key("-_8A-w"))
        self.assertNotEqual(signature_key("+/8A+w=="), signature_key("+/8A/w=="))


class WhatIsFound(unittest.TestCase):
    def test_thoughts_before_a_call(self) -> None:
        """Claude wants all that it thought before a call: each block as it was, in its order."""
        one, two = ThinkingBlock("hm", "E1"), ThinkingBlock("so", "E2")
        hidden = RedactedThinkingBlock("secret")
        kept = found(reply(one, hidden, TextBlock("let me see"), two, CALL, OTHER_CALL), "claude")
        self.assertEqual(kept, {call_key(CALL): Thought((one, hidden, two))})

    def test_each_call_has_its_own(self) -> None:
        """Thinking between two calls belongs to the second."""
        one, two = ThinkingBlock("hm", "E1"), ThinkingBlock("so", "E2")
        kept = found(reply(one, CALL, two, OTHER_CALL), "claude")
        self.assertEqual(kept, {call_key(CALL): Thought((one,)), call_key(OTHER_CALL): Thought((two,))})

    def test_pieces(self) -> None:
        """A thought that comes in pieces is put together, and so is the input of its call."""
        recorder = Recorder("claude")
        pieces: list[Event] = [
            Started("", ""),
            BlockStarted("thinking"),
            *(ThinkingDelta(piece) for piece in ("The ", "user", " asks")),
            SignatureDelta("E1"),
            BlockEnded(),
            BlockStarted("tool_use", "a", "look"),
            InputDelta("{"),
            InputDelta("}"),
            BlockEnded(),
            Finished("tool_use"),
        ]
        for event in pieces:
            recorder.watch([event])
        self.assertEqual(recorder.found, {call_key(CALL): signed("E1", "The user asks"), **made("E1")})

    def test_gemini_wants_its_signature_alone(self) -> None:
        """Of Gemini's thinking nothing is kept but the signature of the call right after it."""
        kept = found(reply(ThinkingBlock("hm", "G1"), CALL, OTHER_CALL), "gemini")
        self.assertEqual(kept, {call_key(CALL): signed("G1")})
        kept = found(reply(ThinkingBlock("hm", "G1"), TextBlock("so"), CALL), "gemini")
        self.assertEqual(kept, {})
        kept = found(reply(ThinkingBlock("hm"), ThinkingBlock("", "G2"), CALL), "gemini")
        self.assertEqual(kept, {call_key(CALL): signed("G2")})

    def test_signed_text(self) -> None:
        """Gemini's signature of a text is kept under what the text says."""
        kept = found(reply(TextBlock("The answer is 4.", "G1"), TextBlock("unsigned")), "gemini")
        self.assertEqual(kept, {text_key("The answer is 4."): signed("G1")})

    def test_thinking_without_signatures(self) -> None:
        """Other families sign nothing: what they thought before a call is kept as it was."""
        kept = found(reply(ThinkingBlock("hm"), CALL), "deepseek")
        self.assertEqual(kept, {call_key(CALL): Thought((ThinkingBlock("hm"),))})

    def test_nothing_to_keep(self) -> None:
        """Without a call there is nothing, and nobody's family has nothing."""
        self.assertEqual(found(reply(ThinkingBlock("hm", "E1"), TextBlock("4")), "claude"), {})
        self.assertEqual(recorded(reply(CALL), "claude"), {})
        self.assertEqual(recorded(reply(ThinkingBlock("hm", "E1"), CALL), ""), {})

    def test_too_long(self) -> None:
        """A thought beyond what is kept of one answer is not kept in part; what came before it is."""
        long = ThinkingBlock("x" * MAX_KEPT, "E2")
        kept = found(reply(ThinkingBlock("hm", "E1"), CALL, long, OTHER_CALL), "claude")
        self.assertEqual(list(kept), [call_key(CALL)])
        self.assertEqual(recorded(reply(TextBlock("x" * (MAX_KEPT + 1), "G")), "gemini"), {})

    def test_too_long_an_input(self) -> None:
        """A call whose input is beyond that is not kept: nothing could be found by a part of it."""
        long = ToolUseBlock("a", "look", f'{{"text":"{"x" * MAX_KEPT}"}}')
        kept = recorded(reply(ThinkingBlock("hm", "E1"), long, ThinkingBlock("hm", "E2"), CALL), "claude")
        self.assertEqual(kept, made("E1"))

    def test_cut_short(self) -> None:
        """A call that was cut short has nothing: its client does not have it."""
        recorder = Recorder("claude")
        recorder.watch(events_of(reply(ThinkingBlock("hm", "E1"), CALL))[:-2])
        self.assertEqual(recorder.found, made("E1"))

    def test_every_signature(self) -> None:
        """Of each signature it is kept that it was made, wherever it stands."""
        blocks = ThinkingBlock("hm", "S1"), TextBlock("so", "S2"), ThinkingBlock("", "S3"), CALL
        for family in ("gemini", "gemini@antigravity", "claude"):
            kept = dict(recorded(reply(*blocks), family))
            self.assertEqual(kept | made("S1", "S2", "S3"), kept)
        redacted = recorded(reply(RedactedThinkingBlock("S4"), TextBlock("so")), "claude")
        self.assertEqual(redacted, made("S4"))

    def test_a_flood_of_signatures(self) -> None:
        """An answer of signatures alone is not kept without end either."""
        blocks = [ThinkingBlock("", str(number)) for number in range(MAX_KEPT // OVERHEAD + 10)]
        self.assertLess(len(recorded(reply(*blocks), "claude")), len(blocks))

    @settings(max_examples=60, deadline=None)
    @given(answers())
    def test_any_answer(self, events: list[Event]) -> None:
        """Whatever is answered, and wherever it fails, there is a thought for none but its calls
        and texts, event by event or at once."""
        for family in ("claude", "gemini", "deepseek"):
            at_once, one_by_one = Recorder(family), Recorder(family)
            at_once.watch(events)
            for event in events:
                one_by_one.watch([event])
            self.assertEqual(at_once.found, one_by_one.found)
            calls = {call_key(call) for call in whole_calls(events)}
            for key, thought in at_once.found.items():
                self.assertEqual(bool(thought.blocks), not key.startswith("signature:"))
                self.assertTrue(key in calls or not key.startswith("call:"))
                self.assertTrue(family == "gemini" or not key.startswith("text:"))

    def test_keeps_what_it_needs(self) -> None:
        """Of the texts of an answer nothing is held, but for the family that signs them; of a call's
        input nothing, where no thinking came before it."""
        events = events_of(reply(TextBlock("x" * 10_000)))[:3]
        for family, size in (("claude", 0), ("gemini", 10_000)):
            recorder = Recorder(family)
            recorder.watch(events)
            self.assertEqual(sum(map(len, recorder._pieces)), size)
        recorder = Recorder("claude")
        recorder.watch(events_of(reply(ToolUseBlock("a", "look", "x" * 10_000)))[:3])
        self.assertEqual(recorder._pieces, [])


class Store(unittest.TestCase):
    def test_by_call_and_text(self) -> None:
        """What the assistant's calls and texts in a request had before them is found again."""
        store = SignatureStore()
        store.remember("Ann", "gemini", {call_key(CALL): signed("G1"), text_key("four"): signed("G2")})
        found = store.of(chat(TextBlock("four"), CALL, OTHER_CALL), "Ann", "gemini")
        self.assertEqual(found, {call_key(CALL): signed("G1"), text_key("four"): signed("G2")})
        self.assertEqual(store.of(chat(TextBlock("four"), role="user"), "Ann", "gemini"), {})

    def test_families_keep_apart(self) -> None:
        """No family is given what another one signed, even for a call of the same id."""
        store = SignatureStore()
        store.remember("Ann", "gemini", {call_key(CALL): signed("G")})
        self.assertEqual(store.of(chat(CALL), "Ann", "claude"), {})
        store.remember("Ann", "claude", {call_key(CALL): signed("E")})
        self.assertEqual(store.of(chat(CALL), "Ann", "gemini"), {call_key(CALL): signed("G")})
        self.assertEqual(store.of(chat(CALL), "Ann", "claude"), {call_key(CALL): signed("E")})
        self.assertEqual(store.of(chat(CALL), "Ann", ""), {})

    def test_issuers_keep_apart(self) -> None:
        """Nor is one issuer of a family given what another one signed."""
        store = SignatureStore()
        store.remember("Ann", "gemini", {call_key(CALL): signed("G"), text_key("four"): signed("G2")})
        asked = chat(TextBlock("four"), CALL)
        self.assertEqual(store.of(asked, "Ann", "gemini@antigravity"), {})
        self.assertEqual(len(store.of(asked, "Ann", "gemini")), 2)
        store.remember("Ann", "gemini@antigravity", {text_key("four"): signed("A")})
        self.assertEqual(store.of(asked, "Ann", "gemini@antigravity"), {text_key("four"): signed("A")})

    def test_clients_keep_apart(self) -> None:
        """What one client was answered is nothing to another one, though it sends the very same call."""
        store = SignatureStore()
        store.remember("Ann", "claude", {call_key(CALL): signed("E"), **made("E")})
        self.assertEqual(store.of(chat(CALL), "Bob", "claude"), {})
        self.assertEqual(store.of(chat(CALL), "", "claude"), {})
        store.remember("Bob", "claude", {call_key(CALL): signed("F")})
        self.assertEqual(store.of(chat(CALL), "Ann", "claude"), {call_key(CALL): signed("E")})
        self.assertEqual(store.of(chat(CALL), "Bob", "claude"), {call_key(CALL): signed("F")})
        sent = chat(ThinkingBlock("hm", "E"), CALL)
        self.assertEqual(store.foreign(sent, "Ann", "claude@antigravity"), {"E"})
        self.assertEqual(store.foreign(sent, "Bob", "claude@antigravity"), set())

    def test_foreign_signatures(self) -> None:
        """Of the signatures that a client sends, those are found that another issuer made; those that
        nobody is known to have made may be anyone's."""
        store = SignatureStore()
        store.remember("Ann", "gemini", made("call", "text", "both"))
        store.remember("Ann", "gemini@antigravity", made("both"))
        sent = chat(
            ThinkingBlock("hm", "unknown"),
            TextBlock("so", "text"),
            ToolUseBlock("a", "look", "{}", "call"),
            ThinkingBlock("", "both"),
            TextBlock("unsigned"),
            RedactedThinkingBlock("redacted"),
        )
        self.assertEqual(store.foreign(sent, "Ann", "gemini@antigravity"), {"call", "text"})
        self.assertEqual(store.foreign(sent, "Ann", "gemini"), set())
        self.assertEqual(store.foreign(sent, "Ann", "claude"), {"call", "text", "both"})
        self.assertEqual(store.foreign(sent, "Ann", ""), set())
        store.remember("Ann", "claude", made("redacted"))
        self.assertEqual(store.foreign(sent, "Ann", "gemini"), {"redacted"})

    def test_foreign_signatures_written_anew(self) -> None:
        """They are known in whichever alphabet a client sends them, and called as it does."""
        store = SignatureStore()
        store.remember("Ann", "gemini", made("+/8A+w=="))
        sent = urlsafe_b64encode(b"\xfb\xff\x00\xfb").decode()
        self.assertNotEqual(sent, "+/8A+w==")
        asked = chat(ToolUseBlock("a", "look", "{}", sent))
        self.assertEqual(store.foreign(asked, "Ann", "gemini@antigravity"), {sent})

    def test_packing(self) -> None:
        """Thoughts are kept as they are, redacted and unsigned ones too."""
        thought = Thought((ThinkingBlock("数", "E1"), RedactedThinkingBlock("x"), ThinkingBlock("", None)))
        self.assertEqual(unpack(pack(thought)), thought)
        self.assertEqual(unpack(pack(MADE)), MADE)

    def test_most_entries(self) -> None:
        """Beyond the number of entries, the one that was used the longest ago is forgotten."""
        store = SignatureStore(max_entries=2)
        for call in (CALL, OTHER_CALL):
            store.remember("Ann", "claude", {call_key(call): signed(call.id)})
        store.of(chat(CALL), "Ann", "claude")
        store.remember("Ann", "claude", {call_key(THIRD): signed("c")})
        self.assertEqual(len(store), 2)
        self.assertEqual(list(store.of(chat(CALL, OTHER_CALL), "Ann", "claude")), [call_key(CALL)])

    def test_most_bytes(self) -> None:
        """The same beyond the bytes, which are counted; one that has no room at all is forgotten."""
        store = SignatureStore(max_bytes=3 * OVERHEAD)
        store.remember(
            "Ann", "claude", {call_key(CALL): signed("x" * 100), call_key(OTHER_CALL): signed("x" * 100)}
        )
        self.assertEqual(len(store), 2)
        self.assertTrue(2 * (OVERHEAD + 100) < store.bytes < 2 * (OVERHEAD + 150))
        store.remember("Ann", "claude", {call_key(THIRD): signed("数" * OVERHEAD)})
        self.assertEqual((len(store), store.bytes), (0, 0))

    def test_again(self) -> None:
        """A key that comes again has its newest thought, and is counted once."""
        store = SignatureStore()
        store.remember("Ann", "claude", {call_key(CALL): signed("one")})
        size = store.bytes
        store.remember("Ann", "claude", {call_key(CALL): signed("two")})
        self.assertEqual((len(store), store.bytes), (1, size))
        self.assertEqual(store.of(chat(CALL), "Ann", "claude"), {call_key(CALL): signed("two")})

    def test_who_writes_it(self) -> None:
        """Each new one is told to who writes it to disk; half a surrogate pair is not kept."""
        store = SignatureStore()
        told: list[tuple[str, str, str, bytes]] = []
        store.saved = lambda *saved: told.append(saved)
        store.remember("Ann", "claude", {call_key(CALL): signed("E"), call_key(OTHER_CALL): signed("\ud800")})
        self.assertEqual(told, [("Ann", "claude", call_key(CALL), pack(signed("E")))])
        self.assertEqual(len(store), 1)

    def test_restoring(self) -> None:
        """What is read back is older than all that is new, and takes only the room that is left."""
        store = SignatureStore(max_entries=3)
        store.remember("Ann", "claude", {call_key(CALL): signed("new")})
        self.assertTrue(store.restore("Ann", "claude", call_key(CALL), pack(signed("old"))))
        self.assertTrue(store.restore("Ann", "claude", call_key(OTHER_CALL), pack(signed("younger"))))
        self.assertTrue(store.restore("Ann", "claude", call_key(THIRD), pack(signed("older"))))
        self.assertFalse(store.restore("Ann", "claude", called("{}", "d"), pack(signed("oldest"))))
        self.assertEqual(store.of(chat(CALL), "Ann", "claude"), {call_key(CALL): signed("new")})
        store.remember("Ann", "claude", {called("{}", "e"): signed("newest")})
        self.assertEqual(list(store.of(chat(OTHER_CALL), "Ann", "claude")), [call_key(OTHER_CALL)])
        self.assertEqual(store.of(chat(ToolUseBlock("c", "look", "{}")), "Ann", "claude"), {})
