"""Simulated providers: OpenAI, GLM, Antigravity, Anthropic and Gemini in one process, over real HTTP.

``--demo`` brings them up so that the gateway works without a key or a network; the tests
use the same ones. They speak each provider's wire format as recorded from it, streamed and
whole, tools, thinking, images and usage included. Every answer has the header
``x-aigateway-simulated: true`` and says in its text that it is simulated.

They answer by rule (`answers`): "count to 12" counts, "use the tool" calls the first tool
that was offered, ``use the tool Bash with {"command": "ls"}`` the one of that name with those
arguments, a tool's result is quoted, and where JSON is demanded a sample of it is the answer;
anything else is quoted back. Any key is good. A model that begins with ``no-such-`` does not
exist.

They refuse what the real ones refuse, in their words: calls without results and results
without calls, names of tools that are none, fields that do not exist (Anthropic, Google),
histories without the signed thoughts that must be in them (Claude's, Gemini 3's), or with
ones that this provider never signed. A signature holds good after a restart.

A model name can also ask for a fault, in the provider's own form of it (``fault-429``,
``fault-cut-after-3``): `faults` has their names, ``docs/faults.md`` what becomes of each. The same
names as an API key or access token, or as a refresh token (whose access tokens then have that
name), rehearse the fault for that one account, whatever the model; the refresh token ``revoked``
is refused with ``invalid_grant``.
"""

from .provider import (
    PACE,
    Seen,
    SimulatedAnthropic,
    SimulatedAntigravity,
    SimulatedGemini,
    SimulatedGLM,
    SimulatedOpenAI,
)
from .replay import Replay
from .service import Simulators

__all__ = [
    "PACE",
    "Replay",
    "Seen",
    "SimulatedAnthropic",
    "SimulatedAntigravity",
    "SimulatedGLM",
    "SimulatedGemini",
    "SimulatedOpenAI",
    "Simulators",
]
