"""Every official SDK through the gateway to every provider: told the same as when it asks directly.

Functions for pytest, which trial passes over: the SDKs block, so the gateway is a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .gateway_process import ROOT, Process, endpoint, serving
from .sdk_clients import CLIENTS, Ask, Told, ask_claude, ask_gemini, ask_openai

MODELS = {
    "openai": "gpt-4",
    "glm": "glm-4",
    "antigravity": "gemini-2.0-flash-exp",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}
ASKS = {
    "text": Ask(system="Be brief."),
    "turns": Ask(said=("Count to 2", "1, 2", "Count to 6")),
    "call": Ask(said=('Please use the tool weather with {"city":"Oslo","days":2}',), tool=True),
    "result": Ask(said=("Use the tool.",), result="rain, 7 degrees"),
    "length": Ask(said=("Count to 500",), max_tokens=20),
}
_ADDRESS = re.compile(r"simulated (\w+) at (http://\S+)")


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The gateway before simulated providers that answer at once."""
    folder = tmp_path_factory.mktemp("fast")
    process = serving(
        lambda port: Process(
            "-y",
            str(ROOT / "tests" / "fast_demo.tac"),
            cwd=folder,
            environ={"FAST_DEMO_LISTEN": endpoint(port)},
            port=port,
        )
    )
    try:
        yield process
        process.stop()
        assert "Traceback" not in process.log
        assert "Unhandled" not in process.log
    finally:
        process.kill()


def directly(process: Process, provider: str, ask: Ask) -> Told:
    """What the provider tells its own SDK."""
    process.wait_for_log("simulated gemini at")
    base = dict(_ADDRESS.findall(process.log))[provider]
    if provider == "anthropic":
        return ask_claude(base.removesuffix("/v1"), MODELS[provider], ask, stream=False)
    if provider == "gemini":
        return ask_gemini(base.removesuffix("/v1beta"), MODELS[provider], ask, stream=False)
    return ask_openai(base, MODELS[provider], ask, stream=False)


@pytest.mark.parametrize("provider", ["openai", "glm", "anthropic", "gemini", "antigravity"])
@pytest.mark.parametrize("client", CLIENTS)
def test_told_the_same(fast: Process, client: str, provider: str) -> None:
    """Text, calls, stop reason and output tokens are the provider's own, streamed and whole."""
    sdk, path = CLIENTS[client]
    base = f"http://127.0.0.1:{fast.port}{path}"
    for name, ask in ASKS.items():
        # Antigravity has no SDK of its own; the model behind it is Gemini's.
        expected = directly(fast, "gemini" if provider == "antigravity" else provider, ask)
        for stream in (False, True):
            told = sdk(base, MODELS[provider], ask, stream=stream)
            assert told == expected, f"{name}, stream={stream}"
