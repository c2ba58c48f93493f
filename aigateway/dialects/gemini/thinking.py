"""How a model is to think and to speak: what each family takes, in one table.

A client says it as an effort, as a budget in tokens, or as on and off; Gemini 2.5 and
Claude on Antigravity take a budget, Gemini 3 a level, never both.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from ...events import ChatRequest

EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 1 << 20}
"""Tokens for an effort, before the family's own limits."""

KNOWN_EFFORTS = {*EFFORTS, "none", "auto"}

ANSWER_TOKENS = 8192
"""What is left for the answer where a client names no ``max_tokens`` but a budget must be
below one."""


class Family(msgspec.Struct, frozen=True):
    """``levels`` from the lowest up, or a budget between ``least`` and ``most``; with neither
    there is nothing to set. ``off``: thinking can be turned off. ``fixed``: how much is part
    of the model's name, and only whether the thoughts are shown is left to say.
    ``most_output``: the longest answer in tokens; Gemini refuses more, instead of shortening.
    ``penalties``: takes those on presence and frequency; the newer ones answer 400 to any but 0
    ("Penalty is not enabled for this model")."""

    names: re.Pattern[str]
    levels: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    off: bool = False
    fixed: bool = False
    most_output: int = 65536
    penalties: bool = False


def _family(
    names: str,
    *,
    levels: str = "",
    budget: tuple[int, int] = (0, 0),
    off: bool = False,
    fixed: bool = False,
    most_output: int = 65536,
    penalties: bool = False,
) -> Family:
    least, most = budget
    return Family(re.compile(names), tuple(levels.split()), least, most, off, fixed, most_output, penalties)


FAMILIES = (  # the first whose pattern matches the start of the name
    _family("claude-", budget=(1024, 32768), off=True, most_output=1 << 31),  # it says so itself
    _family(r"gemini-2\.5-pro", budget=(128, 32768)),
    _family(r"gemini-2\.5-flash-lite", budget=(512, 24576), off=True),
    _family(r"gemini-2\.5-flash(?!-image)", budget=(1, 24576), off=True),
    _family(r"gemini-2\.5-", most_output=32768),  # images
    _family(r"gemini-[12][.-]", most_output=8192, penalties=True),
    _family(r"gemini-.*-(?:low|medium|high)$", fixed=True),  # Antigravity
    _family(r"gemini-(?:[0-9.]+-)?pro", levels="low medium high"),
    _family(r"gemini-3\.[7-9]-flash", levels="low medium high"),
    _family(r"gemini-", levels="minimal low medium high"),
    _family("", penalties=True),
)


class Plan(NamedTuple):
    """``config`` is Gemini's ``thinkingConfig``, None for none; ``max_tokens`` may have been
    raised to hold the budget. ``dropped`` names what the client asked for in vain:
    ``thinking``, ``effort``."""

    config: dict[str, object] | None
    max_tokens: int | None
    dropped: tuple[str, ...] = ()


def family_of(model: str) -> Family:
    return next(family for family in FAMILIES if family.names.match(model))


def plan(chat: ChatRequest, model: str) -> Plan:
    """What to ask of ``model`` for what ``chat`` asks."""
    if chat.effort is not None and chat.effort not in KNOWN_EFFORTS:
        rest = plan(msgspec.structs.replace(chat, effort=None), model)
        return rest._replace(dropped=(*rest.dropped, "effort"))
    family = family_of(model)
    mode = chat.thinking.mode if chat.thinking is not None else None
    asked = (("thinking",) if mode is not None else ()) + (("effort",) if chat.effort is not None else ())
    if not asked:
        return Plan(None, chat.max_tokens)
    claude = model.startswith("claude-")
    off = mode == "disabled" or chat.effort == "none"
    if claude and (off or (mode is None and chat.dialect == "claude")):
        return Plan(None, chat.max_tokens, ("effort",) if chat.effort not in (None, "none") else ())
    # A Claude client that has not turned thinking on expects none in the answer.
    hidden = chat.thinking.hidden if chat.thinking is not None else chat.dialect == "claude"
    show: dict[str, object] = {} if off else {"includeThoughts": not hidden}
    if family.levels:
        if (level := _level(chat, family, off)) is not None:
            show["thinkingLevel"] = level
        return Plan(show, chat.max_tokens)
    if family.fixed:
        told = chat.effort is not None or (chat.thinking is not None and chat.thinking.budget is not None)
        return Plan(show or None, chat.max_tokens, asked if off or told else ())
    if not family.most:
        return Plan(None, chat.max_tokens, () if off else asked)
    budget, max_tokens = _budget(chat, family, off, automatic=not claude)
    if budget is None:
        return Plan(None if claude else {"thinkingBudget": 0}, chat.max_tokens, asked)
    if claude:
        config: dict[str, object] = {"include_thoughts": not hidden, "thinking_budget": budget}
        return Plan(config, max_tokens if max_tokens is not None else budget + ANSWER_TOKENS)
    return Plan({**show, "thinkingBudget": budget}, max_tokens)


def _level(chat: ChatRequest, family: Family, off: bool) -> str | None:
    """The family's nearest level; the lowest where off is asked for, which none has."""
    effort = "minimal" if off else chat.effort or _effort(chat)
    if effort is None:
        return None
    if effort == "minimal" or effort not in EFFORTS:
        return family.levels[0] if effort == "minimal" else None
    return effort if effort in family.levels else family.levels[-1]


def _effort(chat: ChatRequest) -> str | None:
    """The effort that a budget amounts to."""
    budget = chat.thinking.budget if chat.thinking is not None else None
    if budget is None:
        return None
    for effort, limit in (("minimal", 512), ("low", 1024), ("medium", 8192)):
        if budget <= limit:
            return effort
    return "high"


def _budget(
    chat: ChatRequest, family: Family, off: bool, *, automatic: bool
) -> tuple[int | None, int | None]:
    """A budget and the token limit that holds it: the limit counts thinking too, and has to
    be the greater. No budget where the limit leaves no room for thinking."""
    limit = chat.max_tokens
    if off:
        if family.off:
            return 0, limit
        budget = family.least
    else:
        asked = chat.thinking.budget if chat.thinking is not None else None
        if chat.effort in BUDGETS:
            budget = BUDGETS[chat.effort]
        elif asked is not None:
            budget = asked
        elif automatic:
            return -1, limit
        else:
            budget = BUDGETS["medium"]
        budget = min(max(budget, family.least), family.most)
    if limit is None or budget < limit:
        return budget, limit
    budget = max(limit // 2, family.least)
    if budget < limit:
        return budget, limit
    return (None, limit) if family.off else (budget, budget + limit)
