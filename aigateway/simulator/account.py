"""What Code Assist says about an account: its tier, its project, its models.

Pure.
"""

from __future__ import annotations

import time

PROJECT = "simulated-project"
QUOTA_WINDOW = 5 * 3600

MODELS = {
    "gemini-3.8-flash-low": "Gemini 3.8 Flash (Low)",
    "gemini-3.8-flash-high": "Gemini 3.8 Flash (High)",
    "gemini-3.1-pro-low": "Gemini 3.1 Pro (Low)",
    "gemini-3.1-pro-high": "Gemini 3.1 Pro (High)",
    "claude-sonnet-4-6": "Claude Sonnet 4.6",
    "claude-opus-4-6-thinking": "Claude Opus 4.6 (Thinking)",
}

_TIERS = (
    {"id": "free-tier", "name": "Antigravity", "isDefault": True},
    {"id": "standard-tier", "name": "Antigravity Standard", "userDefinedCloudaicompanionProject": True},
)


class CodeAssistAccount:
    """The one account that a simulated Antigravity has, however many tokens ask for it."""

    def __init__(self, onboarded: bool) -> None:
        self._onboarded = onboarded
        self._asked = False

    def load(self) -> dict[str, object]:
        """``loadCodeAssist``: a project only for who has been onboarded."""
        answer: dict[str, object] = {"allowedTiers": _TIERS}
        if self._onboarded:
            answer |= {"currentTier": _TIERS[0], "cloudaicompanionProject": PROJECT}
        return answer

    def onboard(self) -> dict[str, object]:
        """``onboardUser``: a long operation, under way when first asked, then done."""
        operation: dict[str, object] = {"name": "operations/onboard-simulated"}
        if not self._asked:
            self._asked = True
            return operation
        self._onboarded = True
        type_ = "type.googleapis.com/google.internal.cloud.code.v1internal.OnboardUserResponse"
        project = {"id": PROJECT, "name": PROJECT}
        return operation | {"done": True, "response": {"@type": type_, "cloudaicompanionProject": project}}

    def models(self, now: int) -> dict[str, object]:
        """``fetchAvailableModels``, with a full quota that resets in five hours."""
        reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + QUOTA_WINDOW))
        quota = {"remainingFraction": 1, "resetTime": reset}
        limits = {"maxTokens": 1048576, "maxOutputTokens": 65535}
        return {
            "models": {
                name: {"displayName": title, **limits, "quotaInfo": quota} for name, title in MODELS.items()
            },
            "webSearchModelIds": ["gemini-3.8-flash-low"],
        }
