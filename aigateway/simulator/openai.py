"""OpenAI's Chat Completions as its server writes them.

Pure. Chunks, whole answers and errors have the names, in the order, of recordings of
https://api.openai.com/v1/chat/completions.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .answers import Answer
from .chat_completions import DONE, Body, Chunk, finish_reason, frame, prompt_of, tool_call, usage_of
from .wire import Asked, Refused, Response, retry_after_header


class OpenAIWire:
    stream_type = "text/event-stream; charset=utf-8"
    json_type = "application/json"

    def read(self, body: bytes, *, stream: bool | None, serial: int, created: int) -> Asked:
        try:
            parsed = msgspec.json.decode(body, type=Body)
        except msgspec.ValidationError as error:
            raise Refused(self._refusal(f"Invalid body: {error}.")) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self._refusal("We could not parse the JSON body of your request.")) from None
        if not parsed.model:
            raise Refused(self._refusal("you must provide a model parameter"))
        if not parsed.messages:
            missing = "Missing required parameter: 'messages'."
            raise Refused(self._refusal(missing, "messages", "missing_required_parameter"))
        if parsed.max_tokens is not None and parsed.model.startswith(("o1", "o3", "o4", "gpt-5")):
            unsupported = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
            raise Refused(self._refusal(unsupported, "max_tokens", "unsupported_parameter"))
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
            call = tool_call(answer.call, f"call_{asked.serial:024d}", "")
            first = {"index": 0, **call}
            yield self._delta(
                asked, {"role": "assistant", "content": None, "tool_calls": [first], "refusal": None}
            )
            for part in _parts(answer.call.arguments):
                yield self._delta(asked, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
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
                tool_call(answer.call, f"call_{asked.serial:024d}", answer.call.arguments)
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

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        return (("x-request-id", f"req_simulated{asked.serial:020d}"),)

    def unauthorized(self) -> Response:
        return self._refusal("Incorrect API key provided.", None, "invalid_api_key", status=401)

    def unknown_path(self) -> Response:
        return self._refusal("Invalid URL: this simulator has POST /v1/chat/completions.", status=404)

    def unknown_model(self, model: str) -> Response:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return self._refusal(message, None, "model_not_found", status=404)

    def busy(self, retry_after: int | None) -> Response:
        message = "Rate limit reached for requests per min (RPM): Limit 3, Used 3, Requested 1."
        if retry_after is not None:
            message += f" Please try again in {retry_after}s."
        return self._error(429, message, "requests", None, "rate_limit_exceeded", retry_after)

    def failed(self) -> Response:
        return Response((self.error_body(),), self.json_type, 500)

    def error_frame(self) -> bytes:
        return b"data: %b\n\n" % self.error_body()

    def error_body(self) -> bytes:
        message = "The server had an error while processing your request. Sorry about that!"
        return msgspec.json.encode(_openai_error(message, "server_error", None, None))

    def _refusal(
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


def _parts(arguments: str) -> list[str]:
    """Arguments as OpenAI streams them: a few characters a delta, several deltas."""
    size = max(1, min(8, len(arguments) // 3))
    return [arguments[start : start + size] for start in range(0, len(arguments), size)]


def _openai_error(message: str, type_: str, param: str | None, code: str | None) -> Chunk:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}
