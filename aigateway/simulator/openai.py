"""OpenAI's Chat Completions as its server writes them, and what it refuses.

Pure. Chunks, whole answers and errors have the names, in the order, of recordings of
https://api.openai.com/v1/chat/completions. Its Responses are in `responses`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from .answers import Answer
from .chat_completions import (
    DONE,
    Body,
    Chunk,
    Message,
    finish_reason,
    frame,
    prompt_of,
    tool_call,
    usage_of,
)
from .wire import Asked, Refused, Response, retry_after_header, unique

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")
LONGEST_TOOL_NAME = 64
_TYPES = {402: "insufficient_quota", 429: "requests"}


class OpenAIErrors:
    """Errors as OpenAI words them, at each of its endpoints."""

    stream_type = "text/event-stream; charset=utf-8"
    json_type = "application/json"
    ping = b": keep-alive\n\n"

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        return (("x-request-id", f"req_simulated{asked.serial:020d}"),)

    def unauthorized(self) -> Response:
        return self.refusal("Incorrect API key provided.", None, "invalid_api_key", status=401)

    def unknown_path(self) -> Response:
        return self.refusal(
            "Invalid URL: this simulator has POST /v1/chat/completions and /v1/responses.", status=404
        )

    def unknown_model(self, model: str) -> Response:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return self.refusal(message, None, "model_not_found", status=404)

    def busy(self, retry_after: int | None) -> Response:
        message = "Rate limit reached for requests per min (RPM): Limit 3, Used 3, Requested 1."
        if retry_after is not None:
            message += f" Please try again in {retry_after}s."
        return self._error(429, message, "requests", None, "rate_limit_exceeded", retry_after)

    def busy_until(self, asked: Asked, seconds: int) -> Response:
        """https://platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"."""
        limits = (
            ("x-ratelimit-limit-requests", "3"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", f"{seconds}s"),
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-remaining-tokens", "29000"),
            ("x-ratelimit-reset-tokens", "20ms"),
        )
        return msgspec.structs.replace(self.busy(None), headers=limits)

    def too_big(self) -> Response:
        message = (
            "Request too large for this model in organization org-simulated on tokens per min (TPM): "
            "Limit 30000, Requested 41000. The input or output tokens must be reduced in order to run "
            "successfully."
        )
        return self._error(429, message, "tokens", None, "rate_limit_exceeded")

    def exhausted(self, asked: Asked, seconds: int) -> Response:
        """Here it is money, which does not come back by itself."""
        message = "You exceeded your current quota, please check your plan and billing details."
        return self._error(429, message, "insufficient_quota", None, "insufficient_quota")

    def failed(self) -> Response:
        return Response((self.error_body(),), self.json_type, 500)

    def refused_with(self, status: int) -> Response:
        type_ = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
        return self._error(status, f"The simulated server answers with {status}.", type_, None, None)

    def error_frame(self, asked: Asked, after: int) -> bytes:
        return b"data: %b\n\n" % self.error_body()

    def error_body(self) -> bytes:
        message = "The server had an error while processing your request. Sorry about that!"
        return msgspec.json.encode(_openai_error(message, "server_error", None, None))

    def check_name(self, name: str, param: str) -> None:
        """Refuse the name of a tool that is not one for OpenAI."""
        if not TOOL_NAME.match(name):
            message = (
                f"Invalid '{param}': string does not match pattern. Expected a string that matches the "
                "pattern '^[a-zA-Z0-9_-]+$'."
            )
            raise Refused(self.refusal(message, param, "invalid_value"))
        if len(name) > LONGEST_TOOL_NAME:
            message = (
                f"Invalid '{param}': string too long. Expected a string with maximum length "
                f"{LONGEST_TOOL_NAME}, but got a string with length {len(name)} instead."
            )
            raise Refused(self.refusal(message, param, "string_above_max_length"))

    def refusal(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> Response:
        return self._error(status, message, "invalid_request_error", param, code)

    def _error(
        self,
        status: int,
        message: str,
        type_: str,
        param: str | None,
        code: str | None,
        retry_after: int | None = None,
    ) -> Response:
        body = msgspec.json.encode(_openai_error(message, type_, param, code))
        return Response((body,), self.json_type, status, retry_after_header(retry_after))


class OpenAIWire(OpenAIErrors):
    lead = 1
    trailer = 1

    def read(self, body: bytes, *, serial: int, created: int) -> Asked:
        try:
            parsed = msgspec.json.decode(body, type=Body)
        except msgspec.ValidationError as error:
            raise Refused(self.refusal(f"Invalid body: {error}.")) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self.refusal("We could not parse the JSON body of your request.")) from None
        if not parsed.model:
            raise Refused(self.refusal("you must provide a model parameter"))
        if not parsed.messages:
            missing = "Missing required parameter: 'messages'."
            raise Refused(self.refusal(missing, "messages", "missing_required_parameter"))
        if parsed.max_tokens is not None and parsed.model.startswith(("o1", "o3", "o4", "gpt-5")):
            unsupported = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
            raise Refused(self.refusal(unsupported, "max_tokens", "unsupported_parameter"))
        self._check(parsed, parsed.messages)
        # The reasoning itself never shows here, only its tokens in the usage.
        think = parsed.reasoning_effort not in (None, "none", "minimal")
        return Asked(
            model=parsed.model,
            prompt=prompt_of(parsed, parsed.messages, think=think),
            stream=bool(parsed.stream),
            include_usage=parsed.stream_options is not None and bool(parsed.stream_options.include_usage),
            serial=serial,
            created=created,
        )

    def frames(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        if answer.call is None:
            yield self._delta(asked, {"role": "assistant", "content": "", "refusal": None})
            for piece in answer.text:
                yield self._delta(asked, {"content": piece})
        else:
            kind, text = ("custom", "input") if answer.call.custom else ("function", "arguments")
            call = tool_call(answer.call, f"call_{unique('openai', asked)}", "")
            first = {"index": 0, **call}
            yield self._delta(
                asked, {"role": "assistant", "content": None, "tool_calls": [first], "refusal": None}
            )
            for part in parts(answer.call.arguments):
                yield self._delta(asked, {"tool_calls": [{"index": 0, kind: {text: part}}]})
        yield self._delta(asked, {}, finish_reason(answer))
        if asked.include_usage:
            yield frame({**self._head(asked), "choices": [], "usage": self._usage(asked, answer)})
        yield DONE

    def whole(self, asked: Asked, answer: Answer) -> bytes:
        message: Chunk = {
            "role": "assistant",
            "content": "".join(answer.text) if answer.call is None else None,
        }
        if answer.call is not None:
            message["tool_calls"] = [
                tool_call(answer.call, f"call_{unique('openai', asked)}", answer.call.arguments)
            ]
        message |= {"refusal": None, "annotations": []}
        return msgspec.json.encode(
            {
                "id": self._id(asked),
                "object": "chat.completion",
                "created": asked.created,
                "model": asked.model,
                "choices": [
                    {
                        "index": 0,
                        "message": message,
                        "logprobs": None,
                        "finish_reason": finish_reason(answer),
                    }
                ],
                "usage": self._usage(asked, answer),
                "service_tier": "default",
                "system_fingerprint": "fp_simulated",
            }
        )

    def _check(self, body: Body, messages: list[Message]) -> None:
        """Refuse tools with bad names, and calls and results that do not belong together."""
        for number, tool in enumerate(body.tools or ()):
            if (offered := tool.offered) is not None:
                kind = "custom" if offered.custom else "function"
                self.check_name(offered.name, f"tools[{number}].{kind}.name")
        waiting: list[str] = []
        for number, message in enumerate(messages):
            if message.role == "tool":
                if message.tool_call_id not in waiting:
                    raise Refused(self.refusal(_STRAY_RESULT, f"messages.[{number}].role"))
                waiting.remove(message.tool_call_id)
                continue
            self._check_answered(waiting, number)
            calls = message.tool_calls or []
            waiting = [call.id for call in calls]
            for place, call in enumerate(calls):
                if called := call.function or call.custom:
                    kind = "function" if call.function else "custom"
                    self.check_name(called.name, f"messages[{number}].tool_calls[{place}].{kind}.name")
        self._check_answered(waiting, len(messages))

    def _check_answered(self, waiting: list[str], number: int) -> None:
        if waiting:
            message = _UNANSWERED + ", ".join(waiting)
            raise Refused(self.refusal(message, f"messages.[{number}].role"))

    def _id(self, asked: Asked) -> str:
        return f"chatcmpl-simulated{asked.serial:020d}"

    def _head(self, asked: Asked) -> Chunk:
        return {
            "id": self._id(asked),
            "object": "chat.completion.chunk",
            "created": asked.created,
            "model": asked.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }

    def _delta(self, asked: Asked, delta: Chunk, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._head(asked) | {"choices": [choice]}
        if asked.include_usage:
            chunk["usage"] = None
        return frame(chunk)

    def _usage(self, asked: Asked, answer: Answer) -> Chunk:
        usage = usage_of(asked, answer)
        usage["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
        usage["completion_tokens_details"] = {
            "reasoning_tokens": answer.thinking_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
        return usage


_STRAY_RESULT = (
    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
    "'tool_calls'."
)
_UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. The following tool_call_ids did not have response messages: "
)


def parts(arguments: str) -> list[str]:
    """Arguments as OpenAI streams them: a few characters a delta, several deltas."""
    size = max(1, min(8, len(arguments) // 3))
    return [arguments[start : start + size] for start in range(0, len(arguments), size)]


def _openai_error(message: str, type_: str, param: str | None, code: str | None) -> Chunk:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}
