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

A model name can also ask for a fault, in the provider's own form of it:

=================================  ====================================================
``fault-429``                      rate limited
``fault-429-retry-2``              the same, with ``Retry-After: 2``
``fault-500``                      the server failed
``fault-401``                      the key is refused
``fault-silent``                   the request is taken and never answered
``fault-silent-after-headers``     the response's head, then nothing
``fault-stall-mid-stream``         some text, then nothing
``fault-cut``                      some text, then the connection is closed
``fault-cut-mid-utf8``             the same, in the middle of a character
``fault-clean-end-without-marker`` some text, then a clean end of HTTP but not of the answer
``fault-error-in-stream``          some text, then the provider's error frame
``fault-error-first``              the error frame comes first
``fault-error-in-200``             HTTP 200 with an error as its JSON body
``fault-html``                     HTTP 200 with a page
``fault-redirect``                 302 to another port
=================================  ====================================================

Asked for a whole answer, "some text" is the first half of the JSON body, and an error frame
is the error as the body; Gemini refuses a key with a 400. The same names as an API key or
access token, or as a refresh token (whose access tokens then have that name), rehearse the
fault for that one account, whatever the model; the refresh token ``revoked`` is refused with
``invalid_grant``.
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
