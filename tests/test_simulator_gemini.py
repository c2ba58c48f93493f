"""The simulated Gemini API, and Google's rules for signed thoughts, there and on Antigravity."""

from __future__ import annotations

from typing import Any

import msgspec
from google.genai.types import GenerateContentResponse

from aigateway.simulator import SimulatedAntigravity, SimulatedGemini

from .test_simulator import (
    FIXTURES,
    GOOGLE_TOOLS,
    SimulatorTestCase,
    gemini,
    google,
    recorded,
    shape,
    shapes,
)

THINKING = {"thinkingConfig": {"includeThoughts": True}}
MISSING = (
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
    "correctly, and missing thought_signature may lead to degraded model performance. Additional data, "
    "function call `default_api:weather` , position 2. Please refer to "
    "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
)


def path(model: str, method: str = "streamGenerateContent?alt=sse") -> str:
    return f"/v1beta/models/{model}:{method}"


def follow(said: dict[str, Any], name: str = "weather") -> list[dict[str, Any]]:
    """The contents that bring the result of the call in ``said``."""
    result = {"functionResponse": {"name": name, "response": {"output": "rain"}}}
    return [
        {"role": "user", "parts": [{"text": "use the tool"}]},
        said,
        {"role": "user", "parts": [result]},
    ]


def without(content: dict[str, Any], name: str) -> dict[str, Any]:
    """``content`` with ``name`` left out of each of its parts."""
    parts = [{key: value for key, value in part.items() if key != name} for part in content["parts"]]
    return content | {"parts": parts}


class GeminiTestCase(SimulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resource = SimulatedGemini(self.clock, 0)

    def whole(self, model: str, body: dict[str, Any], **options: Any) -> Any:
        return self.json(self.resource, path(model, "generateContent"), body, **options)


class ShapeTests(GeminiTestCase):
    def test_thoughts_and_text_as_recorded(self) -> None:
        """Gemini 3: thoughts, text, and a last empty part that is signed."""
        body = gemini("hello", generationConfig=THINKING)
        frames = self.frames(self.resource, path("gemini-3-pro"), body)
        thought = recorded("gemini/25pro-thinking-tool.sse")[:1]
        self.assertEqual(shapes(frames), shapes(thought) + shapes(recorded("gemini/3pro-text.sse")))

    def test_call_as_recorded(self) -> None:
        """Gemini 3 gives a call an id, and finishes in a chunk of its own."""
        body = gemini("use the tool", tools=GOOGLE_TOOLS, generationConfig=THINKING)
        frames = self.frames(self.resource, path("gemini-3-pro"), body)
        expected = recorded("gemini/3pro-tool-1.sse")
        for frame in (frames[-2], expected[0]):
            [part] = frame["candidates"][0]["content"]["parts"]
            self.assertTrue(part["functionCall"]["id"])
            part["functionCall"]["args"] = None
        self.assertEqual([shape(frame) for frame in frames[-2:]], [shape(frame) for frame in expected])

    def test_older_call_as_recorded(self) -> None:
        """2.5 gives it none, and finishes with it."""
        body = gemini("use the tool", tools=GOOGLE_TOOLS, generationConfig=THINKING)
        frames = self.frames(self.resource, path("gemini-2.5-flash"), body)
        expected = recorded("gemini/25pro-thinking-tool.sse")
        for frame in (frames[-1], expected[-1]):
            frame["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] = None
        self.assertEqual(shapes(frames), shapes(expected))

    def test_schema_of_a_tool(self) -> None:
        """Arguments fit the tool's schema, by whichever of its names it came: Google's Python SDK
        writes the last of them where it makes a tool of a function."""
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        for name in ("parameters", "parametersJsonSchema", "parameters_json_schema"):
            tools = [{"functionDeclarations": [{"name": "weather", name: schema}]}]
            whole = self.whole("gemini-2.5-flash", gemini("use the tool", tools=tools))
            [part] = whole["candidates"][0]["content"]["parts"]
            self.assertEqual(part["functionCall"]["args"], {"city": "sample city"})

    def test_frames_end_with_crlf(self) -> None:
        """As Google's do, without an end marker."""
        received = self.ask(self.resource, path("gemini-3-pro"), gemini("hello"))[1]
        self.assertTrue(received.data.endswith(b"}\r\n\r\n"))
        self.assertEqual(received.data.count(b"\n"), received.data.count(b"\r\n"))

    def test_three_forms_agree(self) -> None:
        """The stream, the same stream as an array, and the whole answer; the SDK reads them all."""
        for model in ("gemini-3-pro", "gemini-2.5-flash"):
            for text, more in (("hello", {}), ("use the tool", {"tools": GOOGLE_TOOLS})):
                body = gemini(text, generationConfig=THINKING, **more)
                frames = self.frames(self.resource, path(model), body)
                array = self.json(self.resource, path(model, "streamGenerateContent"), body)
                whole = self.whole(model, body)
                for one in (*frames, *array, whole):
                    GenerateContentResponse.model_validate(one)
                self.assertEqual(said_in(frames), said_in([whole]))
                self.assertEqual(said_in(array), said_in([whole]))
                self.assertEqual(frames[-1]["usageMetadata"], whole["usageMetadata"])
                self.assertEqual(whole["candidates"][0]["finishReason"], "STOP")

    def test_count(self) -> None:
        """Of contents, and of a whole request inside."""
        body = gemini("x" * 40)
        inner = {"generateContentRequest": body | {"model": "models/gemini-3-pro"}}
        for asked in (body, inner):
            counted = self.json(self.resource, path("gemini-3-pro", "countTokens"), asked)
            self.assertEqual(counted["totalTokens"], 10)

    def test_json_and_limits(self) -> None:
        """A response schema is kept to; a limit ends with MAX_TOKENS."""
        schema = {"type": "OBJECT", "properties": {"title": {"type": "STRING"}}, "required": ["title"]}
        config = {"responseMimeType": "application/json", "responseSchema": schema}
        whole = self.whole("gemini-2.5-flash", gemini("x", generationConfig=config))
        self.assertEqual(said_in([whole])["text"], '{"title":"sample title"}')
        for limit in (3, 0):
            body = gemini("hello", generationConfig={"maxOutputTokens": limit})
            whole = self.whole("gemini-2.5-flash", body)
            self.assertEqual(whole["candidates"][0]["finishReason"], "MAX_TOKENS")


class RefusalTests(GeminiTestCase):
    def test_bad_key_as_recorded(self) -> None:
        """A bad request with a reason; no key at all is something else."""
        url = path("gemini-3-pro")
        response, received = self.ask(self.resource, url, gemini("x"), key="fault-401")
        expected = msgspec.json.decode((FIXTURES / "gemini/error-400-key.json").read_bytes())
        self.assertEqual((response.code, msgspec.json.decode(received.data)), (400, expected))
        response, received = self.ask(self.resource, url, gemini("x"), key=None)
        error = msgspec.json.decode(received.data)["error"]
        self.assertEqual((response.code, error["status"]), (403, "PERMISSION_DENIED"))

    def test_unknown_model_as_recorded(self) -> None:
        """It is told what it was called."""
        response, received = self.ask(self.resource, path("no-such-model"), gemini("x"))
        expected = msgspec.json.decode((FIXTURES / "gemini/error-404-model.json").read_bytes())["error"]
        expected["message"] = expected["message"].replace("gemini-3.6-flahs", "no-such-model")
        self.assertEqual((response.code, msgspec.json.decode(received.data)["error"]), (404, expected))

    def test_unknown_names(self) -> None:
        """Each is named, with its field where it is not the top."""
        unknown = 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'
        error = self.whole("gemini-3-pro", gemini("x", foo=1))["error"]
        self.assertEqual((error["message"], error["status"]), (unknown, "INVALID_ARGUMENT"))
        self.assertEqual(error["details"][0]["fieldViolations"], [{"description": unknown}])
        body = google("x", "gemini-3-flash", foo=1)
        antigravity = SimulatedAntigravity(self.clock, 0)
        error = self.json(antigravity, "/v1internal:generateContent", body)["error"]
        self.assertIn("Unknown name \"foo\" at 'request': Cannot find field.", error["message"])
        self.assertEqual(error["details"][0]["fieldViolations"][0]["field"], "request")

    def test_snake_case_is_taken(self) -> None:
        """The names of the protocol buffers are names too."""
        config = {"maxOutputTokens": 1}
        whole = self.whole("gemini-2.5-flash", gemini("hello", generation_config=config))
        self.assertEqual(whole["candidates"][0]["finishReason"], "MAX_TOKENS")

    def test_other_paths(self) -> None:
        """Other methods and paths are not there."""
        for url in (path("m", "embedContent"), "/v1beta/elsewhere:generateContent", "/v1beta/models/m"):
            self.assertEqual(self.ask(self.resource, url, gemini("x"))[0].code, 404)
        error = self.whole("gemini-3-pro", {"contents": []})["error"]
        self.assertEqual(error["status"], "INVALID_ARGUMENT")


class SignatureTests(GeminiTestCase):
    """Gemini 3's rule, at the Gemini API and on Antigravity."""

    def ask_at(self, where: str, contents: list[Any] | None, model: str = "gemini-3-flash") -> Any:
        """The whole answer of one of the two, out of its envelope; the error where it is one."""
        body: dict[str, Any] = gemini("use the tool", tools=GOOGLE_TOOLS)
        if contents is not None:
            body["contents"] = contents
        if where == "gemini":
            return self.whole(model, body)
        antigravity = SimulatedAntigravity(self.clock, 0)
        envelope = {"project": "p", "model": model, "request": body}
        answered = self.json(antigravity, "/v1internal:generateContent", envelope)
        return answered.get("response", answered)

    def said(self, where: str) -> Any:
        return self.ask_at(where, None)["candidates"][0]["content"]

    def test_signed_calls_are_taken(self) -> None:
        """Its own signature, or the word that stands for one."""
        for where in ("gemini", "antigravity"):
            said = self.said(where)
            self.assertTrue(said["parts"][0]["thoughtSignature"])
            skipped = without(said, "thoughtSignature")
            skipped["parts"][0]["thoughtSignature"] = "skip_thought_signature_validator"
            for content in (said, skipped):
                answered = self.ask_at(where, follow(content))
                self.assertIn("rain", said_in([answered])["text"])

    def test_unsigned_calls_are_refused(self) -> None:
        """In Google's words; and foreign signatures in others."""
        signed = {where: self.said(where) for where in ("gemini", "antigravity")}
        for where, other in (("gemini", "antigravity"), ("antigravity", "gemini")):
            error = self.ask_at(where, follow(without(signed[where], "thoughtSignature")))["error"]
            self.assertEqual(error, {"code": 400, "message": MISSING, "status": "INVALID_ARGUMENT"})
            error = self.ask_at(where, follow(signed[other]))["error"]
            self.assertEqual((error["code"], error["message"]), (400, "Corrupted thought signature."))

    def test_only_the_first_call_of_a_step_in_the_turn(self) -> None:
        """Parallel calls, past turns and older models need no signature; later steps do."""
        said = self.said("gemini")
        unsigned = without(said, "thoughtSignature")
        parallel = said | {"parts": said["parts"] + unsigned["parts"]}
        self.assertIn("candidates", self.ask_at("gemini", follow(parallel)))
        past = [*follow(unsigned), {"role": "user", "parts": [{"text": "thank you"}]}]
        self.assertIn("candidates", self.ask_at("gemini", past))
        later = [*follow(said), *follow(unsigned)[1:]]
        self.assertIn("position 4", self.ask_at("gemini", later)["error"]["message"])
        self.assertIn("candidates", self.ask_at("gemini", follow(unsigned), "gemini-2.5-flash"))


class AntigravityClaudeTests(SimulatorTestCase):
    """Claude's rule on Antigravity: the turn begins with a signed thought."""

    def ask_claude(self, contents: list[Any] | None = None, **more: Any) -> Any:
        config = {"thinkingConfig": {"include_thoughts": True, "thinking_budget": 1024}}
        body: dict[str, Any] = google(
            "use the tool", "claude-sonnet-4-6", tools=GOOGLE_TOOLS, generationConfig=config
        )
        if contents is not None:
            body["request"]["contents"] = contents
        body["request"] |= more
        resource = SimulatedAntigravity(self.clock, 0)
        answered = self.json(resource, "/v1internal:generateContent", body)
        return answered.get("response", answered)

    def nested(self, answered: Any) -> str:
        """Claude's message, out of its own error in Google's."""
        error = answered["error"]
        self.assertEqual((error["code"], error["status"]), (400, "INVALID_ARGUMENT"))
        inner = msgspec.json.decode(error["message"])
        expected = msgspec.json.decode((FIXTURES / "antigravity/error-400-claude-nested.json").read_bytes())
        self.assertEqual(shape(inner), shape(msgspec.json.decode(expected["error"]["message"])))
        return str(inner["error"]["message"])

    def test_rule(self) -> None:
        """Signed it is taken, whole or streamed; bare, unsigned or foreign it is not."""
        said = self.ask_claude()["candidates"][0]["content"]
        self.assertTrue(said["parts"][0]["thoughtSignature"].startswith("R"))
        self.assertIn("rain", said_in([self.ask_claude(follow(said))])["text"])
        empty = {"thought": True, "text": "", "thoughtSignature": said["parts"][0]["thoughtSignature"]}
        streamed = said | {"parts": [{"thought": True, "text": "Hm."}, empty, said["parts"][1]]}
        self.assertIn("rain", said_in([self.ask_claude(follow(streamed))])["text"])
        bare = said | {"parts": said["parts"][1:]}
        self.assertIn("Expected `thinking`", self.nested(self.ask_claude(follow(bare))))
        unsigned = without(said, "thoughtSignature")
        self.assertIn("signature: Field required", self.nested(self.ask_claude(follow(unsigned))))
        said["parts"][0]["thoughtSignature"] = "Rm9yZWlnbg=="
        self.assertIn("messages.1.content.0: Invalid `signature`", self.nested(self.ask_claude(follow(said))))

    def test_forced_tools(self) -> None:
        """They do not go with thinking."""
        forced = {"functionCallingConfig": {"mode": "ANY"}}
        message = self.nested(self.ask_claude(toolConfig=forced))
        self.assertEqual(message, "Thinking may not be enabled when tool_choice forces tool use.")


def said_in(chunks: list[Any]) -> dict[str, Any]:
    """What the parts of ``chunks`` say, put together: thoughts, text, call."""
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return {
        "thoughts": "".join(part["text"] for part in parts if part.get("thought")),
        "text": "".join(part.get("text", "") for part in parts if not part.get("thought")),
        "calls": [(call["name"], call["args"]) for call in calls],
        "signed": any("thoughtSignature" in part for part in parts),
    }
