"""GLM's Chat Completions as its server writes them.

Pure. Chunks, whole answers and errors have the names, in the order, of recordings of
https://api.z.ai/api/paas/v4/chat/completions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from .answers import Answer, Call
from .chat_completions import DONE, Body, Chunk, finish_reason, frame, prompt_of, tool_call, usage_of
from .wire import Asked, Refused, Response, retry_after_header, unique

CHINA = 8 * 3600
"""Seconds that China's clocks are ahead of UTC."""
_CODES = {401: "1001", 402: "1113", 403: "1220", 404: "1222", 429: "1302", 503: "1305", 529: "1305"}


class GLMWire:
    """Unlike OpenAI: ``role`` in every delta but those of tools, no ``finish_reason`` until
    the last chunk, which carries the usage whether asked for or not; tool calls whole in
    one delta; error codes as strings, without a type.
    """

    stream_type = "text/event-stream;charset=UTF-8"
    json_type = "application/json; charset=UTF-8"
    lead = 0
    trailer = 1
    ping = b": keep-alive\n\n"

    def read(self, body: bytes, *, serial: int, created: int) -> Asked:
        try:
            parsed = msgspec.json.decode(body, type=Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(self._error(400, "1210", "API 调用参数有误，请检查文档。")) from None
        if not parsed.model:
            raise Refused(self._error(400, "1213", "model 参数未正常接收。"))
        if not parsed.messages:
            raise Refused(self._error(400, "1213", "messages 参数未正常接收。"))
        if not any(message.role == "user" for message in parsed.messages):
            raise Refused(self._error(400, "1214", "messages 参数非法。请检查文档。"))
        return Asked(
            model=parsed.model,
            prompt=prompt_of(parsed, parsed.messages, think=self._thinks(parsed)),
            stream=bool(parsed.stream),
            serial=serial,
            created=created,
        )

    def frames(self, asked: Asked, answer: Answer) -> Iterator[bytes]:
        for number, piece in enumerate(answer.thinking):
            reasoning = piece if number else "\n" + piece
            yield self._delta(asked, {"role": "assistant", "reasoning_content": reasoning})
        for piece in answer.text:
            yield self._delta(asked, {"role": "assistant", "content": piece})
        if answer.call is not None:
            yield self._delta(asked, {"tool_calls": [self._call(asked, answer.call)]})
        finish = {
            "index": 0,
            "finish_reason": finish_reason(answer),
            "delta": {"role": "assistant", "content": ""},
        }
        yield frame({**self._head(asked), "choices": [finish], "usage": self._usage(asked, answer)})
        yield DONE

    def whole(self, asked: Asked, answer: Answer) -> bytes:
        message: Chunk = {"content": "".join(answer.text)}
        if answer.thinking:
            message["reasoning_content"] = "\n" + "".join(answer.thinking)
        message["role"] = "assistant"
        if answer.call is not None:
            message["tool_calls"] = [self._call(asked, answer.call)]
        return msgspec.json.encode(
            {
                "choices": [{"finish_reason": finish_reason(answer), "index": 0, "message": message}],
                "created": asked.created,
                "id": self._id(asked),
                "model": asked.model,
                "object": "chat.completion",
                "request_id": self._id(asked),
                "usage": self._usage(asked, answer),
            }
        )

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        return (("x-log-id", self._id(asked)),)

    def unauthorized(self) -> Response:
        return self._error(401, "1001", "Header中未收到Authorization参数，无法进行身份验证。")

    def unknown_path(self) -> Response:
        return self._error(404, "1222", "API 不存在。")

    def unknown_model(self, model: str) -> Response:
        # The real server's status is 400.
        return self._error(400, "1211", "模型不存在，请检查模型代码。")

    def busy(self, retry_after: int | None) -> Response:
        return self._error(429, "1302", "Rate limit reached for requests", retry_after)

    def busy_until(self, asked: Asked, seconds: int) -> Response:
        """GLM names no time for a limit of the rate."""
        return self.busy(None)

    def too_big(self) -> Response:
        """GLM's limits count requests, so that none is too big."""
        return self.busy(None)

    def exhausted(self, asked: Asked, seconds: int) -> Response:
        """The date is China's, without saying so."""
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(asked.created + seconds + CHINA))
        message = f"Usage limit reached for 5 hour. Your limit will reset at {date}"
        return self._error(429, "1308", message)

    def failed(self) -> Response:
        return self._error(500, "500", "Internal server error")

    def refused_with(self, status: int) -> Response:
        message = f"The simulated server answers with {status}."
        return self._error(status, _CODES.get(status, "500" if status >= 500 else "1210"), message)

    def error_frame(self, asked: Asked, after: int) -> bytes:
        return frame({"error": {"code": "1234", "message": "Network error, please try again later"}})

    def error_body(self) -> bytes:
        # What the web front end answers; no "error" name in it at all.
        return msgspec.json.encode({"code": 500, "msg": "404 NOT_FOUND", "success": False})

    def _error(self, status: int, code: str, message: str, retry_after: int | None = None) -> Response:
        body = msgspec.json.encode({"error": {"code": code, "message": message}})
        return Response((body,), self.json_type, status, retry_after_header(retry_after))

    def _thinks(self, body: Body) -> bool:
        """GLM 4.5 and later think unless told not to. This one thinks only when told to, to
        keep the answer to a plain curl short."""
        if body.thinking is not None and body.thinking.type is not None:
            return body.thinking.type == "enabled"
        return body.reasoning_effort not in (None, "none")

    def _id(self, asked: Asked) -> str:
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(asked.created)) + f"{asked.serial:016x}"

    def _head(self, asked: Asked) -> Chunk:
        return {
            "id": self._id(asked),
            "created": asked.created,
            "object": "chat.completion.chunk",
            "model": asked.model,
        }

    def _delta(self, asked: Asked, delta: Chunk) -> bytes:
        return frame({**self._head(asked), "choices": [{"index": 0, "delta": delta}]})

    def _call(self, asked: Asked, call: Call) -> Chunk:
        made = tool_call(call, f"call_{unique('glm', asked)}", call.arguments)
        return {"id": made["id"], "index": 0, "type": made["type"], "function": made["function"]}

    def _usage(self, asked: Asked, answer: Answer) -> Chunk:
        usage = usage_of(asked, answer)
        usage["prompt_tokens_details"] = {"cached_tokens": 0}
        usage["completion_tokens_details"] = {"reasoning_tokens": answer.thinking_tokens}
        return usage
