"""A configuration as it runs: what is made of one, together.

When the configuration is read again, another one takes its place, whole. A request keeps the one
that it began with, so that none sees half of each.
"""

from __future__ import annotations

import msgspec

from .admission import Admission
from .attempts import Attempts
from .config import Config
from .dialect_rules import DialectRules
from .routing import Router


class RunningConfig(msgspec.Struct, frozen=True):
    """What decides about a request: who may come in, what is spoken, whom to ask."""

    config: Config
    router: Router
    rules: DialectRules
    admission: Admission
    attempts: Attempts
