"""What fuzzing begins with: the recordings of the tests, as inputs of each target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aigateway.dialects import DIALECTS

from .given import chosen
from .targets import ASKED, STATUSES

TESTS = Path(__file__).resolve().parents[1] / "tests"
FIXTURES = TESTS / "fixtures"
LARGEST = 16_000
"""Longer recordings say the same again, and only cost time."""

KINDS = list(ASKED)
CLIENTS = list(DIALECTS)
_FOLDERS = {
    "openai": "openai",
    "compat": "openai",
    "glm": "glm",
    "antigravity": "antigravity",
    "gemini": "gemini",
    "anthropic": "anthropic",
    "responses": "openai-responses",
}
_CHECKS = {"openai": "openai", "claude": "claude", "gemini": "gemini", "responses": "responses"}

CONFIG = """\
[gateway]
listen = "tcp:8088:interface=127.0.0.1"
hosts = ["localhost", "gw.example.com"]
strict = true
[timeouts]
connect = 5
idle = 0.5
[limits]
max_body = 1000
[retries]
budget = 0.1
[providers.openai]
kind = "openai"
base_url = "https://api.openai.com/v1"
accounts = [ { name = "main", api_key = "env:KEY", weight = 2 }, { name = "b", api_key = "file:/x" } ]
headers = { "x-extra" = "env:KEY" }
models = ["gpt-4o"]
[providers.openai.timeouts]
total = 60
[providers.agy]
kind = "antigravity"
affinity = true
accounts = [ { name = "a", refresh_token = "env:KEY", client_id = "c", client_secret = "s", project = "p" } ]
[[routes]]
model = "fast*"
targets = ["openai/gpt-4o-mini", "agy"]
hedge = 0.1
timeouts = { idle = 3 }
[[keys]]
name = "alice"
key = "env:KEY"
dialect = "openai"
models = ["gpt-*"]
"""


def seeds(target: str) -> Iterator[bytes]:
    """The inputs that ``target`` begins with."""
    yield from {
        "decoder": _decoder,
        "readers": _readers,
        "streams": _streams,
        "replies": _replies,
        "errors": _errors,
        "requests": _requests,
        "config": _config,
        "checks": _checks,
    }[target]()


def _recorded(suffix: str) -> Iterator[tuple[str, bytes]]:
    """(kind of provider, recording) of each that ends so."""
    for folder, kind in _FOLDERS.items():
        for path in sorted((FIXTURES / folder).glob(f"*{suffix}")):
            if path.stat().st_size <= LARGEST:
                yield kind, path.read_bytes()


def _decoder() -> Iterator[bytes]:
    for number, (_, data) in enumerate(_recorded(".sse")):
        yield chosen(0, number % 20) + data[:2_000]


def _readers() -> Iterator[bytes]:
    for kind, data in _recorded(".sse"):
        yield chosen(KINDS.index(kind)) + data


def _streams() -> Iterator[bytes]:
    for number, (kind, data) in enumerate(_recorded(".sse")):
        own = CLIENTS.index(ASKED[kind].dialect)
        yield chosen(KINDS.index(kind), number % len(CLIENTS), 0, 0, 1, number % 5) + data
        yield chosen(KINDS.index(kind), own, 1, 0, 1, number % 5) + data


def _replies() -> Iterator[bytes]:
    for number, (kind, data) in enumerate(_recorded(".json")):
        own = CLIENTS.index(ASKED[kind].dialect)
        yield chosen(KINDS.index(kind), number % len(CLIENTS)) + data
        yield chosen(KINDS.index(kind), own, 1) + data


def _errors() -> Iterator[bytes]:
    for number, (kind, data) in enumerate(_recorded(".json")):
        yield chosen(KINDS.index(kind), number % len(STATUSES), number) + b"3\n" + data
    for status in range(len(STATUSES)):
        yield chosen(0, status) + b"<html><title>502 Bad Gateway</title></html>"


def _requests() -> Iterator[bytes]:
    bodies = sorted(path for path in FIXTURES.rglob("*.request.json") if path.stat().st_size <= LARGEST)
    for number, path in enumerate(bodies):
        yield chosen(_reader_of(path), number, number, number) + path.read_bytes()


def _reader_of(path: Path) -> int:
    """Which of the parsers the body at ``path`` is for."""
    for words, parser in ((("anthropic", "claude"), 0), (("codex", "responses"), 2), (("gemini",), 3)):
        if any(word in f"{path.parent.name}/{path.name}" for word in words):
            return parser
    return 1


def _config() -> Iterator[bytes]:
    yield chosen() + CONFIG.encode()
    for place in range(0, len(CONFIG), 300):
        yield chosen() + CONFIG[place:].partition("\n")[2].encode()


def _checks() -> Iterator[bytes]:
    for kind, data in _recorded(".sse"):
        yield chosen(CLIENTS.index(ASKED[kind].dialect), 1, 1) + data[:4_000]
