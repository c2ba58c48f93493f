"""``python -m aigateway.check``: check a recorded stream against its dialect's grammar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import CHECKS, BrokenGrammar, check
from .common import Answer, json_object, lenient_frames


def main(arguments: Sequence[str] | None = None) -> int:
    """Say in one line what the stream tells, or which rule it breaks; 0 if it breaks none, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m aigateway.check",
        description="Check a recorded stream of an AI provider, or of the gateway, against the grammar of"
        " its dialect: the body of the HTTP response, as it came (curl --no-buffer ... > FILE).",
    )
    parser.add_argument("--dialect", choices=sorted(CHECKS), help="as its first frames tell unless given")
    parser.add_argument("--lenient", action="store_true", help="let pass fields and events that are unknown")
    parser.add_argument("--cut", action="store_true", help="the stream need not have come to its end")
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="- for the standard input")
    chosen = parser.parse_args(arguments)
    try:
        data = sys.stdin.buffer.read() if chosen.file == "-" else Path(chosen.file).read_bytes()
    except OSError as error:
        parser.error(str(error))
    dialect = chosen.dialect or "no dialect"
    try:
        dialect = chosen.dialect or guess(data)
        answer = check(dialect, data, lenient=chosen.lenient, whole=not chosen.cut)
    except BrokenGrammar as broken:
        sys.stdout.write(f"{dialect}: broken: {broken}\n")
        return 1
    sys.stdout.write(f"{dialect}: {summary(answer)}\n")
    return 0


def guess(data: bytes) -> str:
    """The dialect of a stream, by the first of its frames that tells."""
    if data.lstrip().startswith(b"["):
        return "gemini"
    for frame in lenient_frames(data):
        if frame.data is None:
            continue
        value = {} if frame.data == "[DONE]" else json_object(frame.data)
        kind, error = value.get("type"), value.get("error")
        if isinstance(kind, str):
            numbered = "sequence_number" in value or kind.startswith("response.")
            return "responses" if numbered else "claude"
        if {"candidates", "usageMetadata", "promptFeedback", "response"} & value.keys():
            return "gemini"
        if isinstance(error, dict) and "status" in error:
            return "gemini"
        if "choices" in value or error is not None:
            return "openai"
    raise BrokenGrammar("no frame tells which dialect this is")


def summary(answer: Answer) -> str:
    """``answer`` in one line, without what was said."""
    called = ", ".join(name for _, name, _ in answer.calls)
    told = [
        f"{len(answer.chunks)} frames",
        f"text {len(answer.text)}",
        f"thinking {len(answer.thinking)}",
        f"calls {len(answer.calls)}" + (f" ({called})" if called else ""),
        f"stop {answer.stop}",
    ]
    if answer.usage is not None:
        counts = [f"{kind}={value}" for kind, value in answer.usage.items() if isinstance(value, int)]
        told.append(f"usage {' '.join(counts)}")
    if answer.error is not None:
        told.append(f"error {answer.error}")
    return ascii(", ".join(told))[1:-1]


if __name__ == "__main__":
    sys.exit(main())
