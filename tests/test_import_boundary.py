"""The two halves: what knows formats imports nothing from Twisted."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

import aigateway

ROOT = Path(aigateway.__file__).parents[1]
"""Where interpreters of their own start: trial runs the tests in a folder of its own."""

PURE = {
    "accounts",
    "allowance",
    "asking",
    "budget",
    "circuit",
    "continuation",
    "counters",
    "errors",
    "estimate",
    "events",
    "histogram",
    "jsontext",
    "ledger",
    "listing",
    "load",
    "metrics",
    "outcome",
    "pace",
    "report",
    "response_head",
    "routing",
    "secret",
    "signatures",
    "sse",
    "throttle",
    "translate",
}
PURE_PACKAGES = {"check", "config", "dialects", "providers"}
TWISTED = {
    "account_queue",
    "admission",
    "agent",
    "attempts",
    "calls",
    "channel",
    "chat_body",
    "client_request",
    "client_stream",
    "credentials",
    "descriptors",
    "dialect_rules",
    "exchange",
    "executor",
    "glance",
    "listening",
    "notify",
    "offload",
    "overload",
    "parent",
    "race",
    "refusal",
    "relay",
    "reload",
    "running",
    "signals",
    "site",
    "state",
    "statefile",
    "stats",
    "steady",
    "tap",
    "upstream",
    "web",
}
TWISTED_PACKAGES = {"simulator"}

# Imports each module in turn, in an interpreter of its own: says which brought Twisted in first.
_PROBE = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    found[name] = sorted(module for module in sys.modules if module.partition(".")[0] in ("twisted", "zope"))
    if found[name]:
        break
print(json.dumps(found))
"""


def modules() -> Iterator[str]:
    """Every module of the package, without the package's own name."""
    for found in pkgutil.walk_packages(aigateway.__path__, "aigateway."):
        yield found.name.removeprefix("aigateway.")


def pure() -> list[str]:
    return [name for name in modules() if name in PURE or name.partition(".")[0] in PURE_PACKAGES]


class Halves(unittest.TestCase):
    def test_every_module_has_its_half(self) -> None:
        """Each module of the package is named here, in one half: a new one must be put into one."""
        listed = PURE | TWISTED
        packages = PURE_PACKAGES | TWISTED_PACKAGES
        strays = [name for name in modules() if name not in listed and name.partition(".")[0] not in packages]
        self.assertEqual(strays, [])
        self.assertFalse(PURE & TWISTED)

    def test_no_module_that_is_gone_is_named(self) -> None:
        """What is named here is there."""
        self.assertEqual((PURE | TWISTED | PURE_PACKAGES | TWISTED_PACKAGES) - set(modules()), set())

    def test_pure_half_without_twisted(self) -> None:
        """No module of the pure half, imported in a fresh interpreter, brings Twisted in."""
        names = [f"aigateway.{name}" for name in pure()]
        self.assertGreater(len(names), 30)
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, *names], cwd=ROOT, capture_output=True, check=True
        )
        self.assertEqual({name: brought for name, brought in json.loads(done.stdout).items() if brought}, {})

    def test_each_dialect_and_provider_alone(self) -> None:
        """Each package of the pure half can be imported first: none needs another to be there before."""
        names = [
            "translate",
            "providers",
            "dialects",
            "dialects.openai",
            "dialects.gemini",
            "config",
            "routing",
        ]
        running = [
            subprocess.Popen(
                [sys.executable, "-c", f"import aigateway.{name}"], cwd=ROOT, stderr=subprocess.PIPE
            )
            for name in names
        ]
        for name, process in zip(names, running, strict=True):
            _, complaint = process.communicate()
            with self.subTest(name):
                self.assertEqual((process.returncode, complaint), (0, b""))

    def test_the_probe_finds_twisted(self) -> None:
        """The probe does see what a module of the other half brings in."""
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, "aigateway.errors", "aigateway.stats"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        found = json.loads(done.stdout)
        self.assertEqual(found["aigateway.errors"], [])
        self.assertIn("twisted", found["aigateway.stats"])
