"""How much Claude is to think: a client says it as an effort, as a budget in tokens, or as on and
off; a model takes a budget, or thinks as it sees fit and takes an effort (`families`)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ...events import ChatRequest
from .families import BUDGETS, EFFORTS, LEAST_BUDGET, Family

# How many tokens of thinking an effort stands for, at most: the way back from a budget.
_EFFORT_OF = ((1024, "low"), (8192, "medium"), (24_576, "high"))
_KNOWN = {*EFFORTS, "none", "minimal", "auto"}
ANSWER_TOKENS = 8192
"""What is left for the answer where a client names a budget and no ``max_tokens``."""


class Plan(NamedTuple):
    """``config`` is the ``thinking`` of the request, None for none; ``max_tokens`` holds its budget.
    ``on``: the model thinks. ``dropped`` names what was asked in vain."""

    config: dict[str, object] | None
    effort: str | None
    max_tokens: int
    on: bool
    dropped: tuple[str, ...] = ()

    @property
    def budget(self) -> object:
        """Tokens set aside for thinking; None where none are."""
        return None if self.config is None else self.config.get("budget_tokens")


def plan(chat: ChatRequest, family: Family, *, may_think: bool, max_tokens: int) -> Plan:
    """What to ask of a model of ``family`` for what ``chat`` asks. ``may_think``: the turns allow
    a budget."""
    effort, thinking = chat.effort, chat.thinking
    if effort is not None and effort not in _KNOWN:
        rest = msgspec.structs.replace(chat, effort=None)
        found = plan(rest, family, may_think=may_think, max_tokens=max_tokens)
        return found._replace(dropped=(*found.dropped, "effort"))
    if effort == "auto":
        effort = None
    mode = thinking.mode if thinking is not None else None
    if mode == "disabled" or (mode is None and effort == "none"):
        return _off(chat, family, effort, max_tokens)
    asked = mode is not None or (effort is not None and chat.dialect != "claude")
    if not asked:
        # Claude's own effort says how much to write, and nothing of thinking.
        given = family.effort(effort) if effort is not None else None
        dropped = ("effort",) if effort is not None and given is None else ()
        return Plan(None, given, max_tokens, family.thinks, dropped)
    if family.adaptive and (not family.budget or thinking is None or thinking.budget is None):
        return _adaptive(chat, family, effort, max_tokens)
    if not family.budget:
        return Plan(None, None, max_tokens, family.thinks, ("thinking" if mode is not None else "effort",))
    return _budget(chat, family, effort, may_think, max_tokens)


def _off(chat: ChatRequest, family: Family, effort: str | None, max_tokens: int) -> Plan:
    """No thinking. It must be said to those alone that think of their own accord, or might."""
    config: dict[str, object] | None = (
        {"type": "disabled"}
        if family.thinks or family.adaptive or (family.budget and chat.thinking is not None)
        else None
    )
    given = family.effort(effort) if effort is not None and effort != "none" else None
    dropped: tuple[str, ...] = ("effort",) if effort not in (None, "none") and given is None else ()
    most = family.effort_without_thinking
    if given is not None and EFFORTS.index(given) > EFFORTS.index(most):
        given, dropped = most, ("effort",)
    return Plan(config, given, max_tokens, False, dropped)


def _adaptive(chat: ChatRequest, family: Family, effort: str | None, max_tokens: int) -> Plan:
    budget = chat.thinking.budget if chat.thinking is not None else None
    if effort is None and budget is not None:
        effort = next((name for most, name in _EFFORT_OF if budget <= most), "xhigh")
    config: dict[str, object] = {"type": "adaptive", "display": _display(chat)}
    given = family.effort(effort) if effort is not None else None
    return Plan(config, given, max_tokens, True)


def _budget(chat: ChatRequest, family: Family, effort: str | None, may_think: bool, max_tokens: int) -> Plan:
    """A budget below ``max_tokens``, which counts thinking too: a limit of the client's lowers the
    budget, our own makes room for it. None where too little is left."""
    field = "thinking" if chat.thinking is not None else "effort"
    off: dict[str, object] | None = {"type": "disabled"} if family.thinks else None
    if not may_think:
        return Plan(off, None, max_tokens, False, (field,))
    asked = chat.thinking.budget if chat.thinking is not None else None
    budget = max(asked if asked is not None else BUDGETS.get(effort or "medium", LEAST_BUDGET), LEAST_BUDGET)
    if chat.max_tokens is None:
        max_tokens = min(budget + ANSWER_TOKENS, family.most_output or budget + ANSWER_TOKENS)
    if budget >= max_tokens:
        budget = max(max_tokens // 2, LEAST_BUDGET)
    if budget >= max_tokens:
        return Plan(off, None, max_tokens, False, (field,))
    # Only Claude's own clients mean by an effort what these models take as one.
    own = family.effort(effort) if effort is not None and chat.dialect == "claude" else None
    config: dict[str, object] = {"type": "enabled", "budget_tokens": budget}
    if chat.thinking is not None and chat.thinking.hidden:
        config["display"] = "omitted"
    return Plan(config, own, max_tokens, True)


def _display(chat: ChatRequest) -> str:
    """Newer models leave the text of their thinking out unless it is asked for."""
    return "omitted" if chat.thinking is not None and chat.thinking.hidden else "summarized"
