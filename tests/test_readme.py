"""What the documents say is so: commands, outputs, snippets, tables, links."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import re
import shlex
import subprocess
from pathlib import Path
from unittest import TestCase

import pytest

from aigateway import errors
from aigateway.config import parse
from aigateway.dialects import DIALECTS
from aigateway.errors import GatewayError
from aigateway.web import Gateway

from .gateway_process import ROOT, Process

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
URL = "http://localhost:8088"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of the README, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


class Documents(TestCase):
    def test_links(self) -> None:
        """Every link between the documents leads somewhere."""
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
                if not target.startswith("https://"):
                    with self.subTest(document=document.name, target=target):
                        self.assertTrue((document.parent / target).exists())

    def test_configurations(self) -> None:
        """Every TOML example in the documents is a configuration that the gateway takes."""
        for document in DOCUMENTS:
            for text in blocks(document.read_text(encoding="utf-8"), "toml"):
                with self.subTest(document=document.name, text=text):
                    names = dict.fromkeys(re.findall(r'"env:(\w+)"', text), "any")
                    config = parse(text, names, origin="example", read_file=lambda path: "any")
                    self.assertTrue(config.providers)

    def test_two_commands(self) -> None:
        """To run the gateway is one command, to install what the tests need and run them another,
        and neither needs the other first."""
        run, test = (block.strip() for block in blocks(README.split("## Ask it")[0], "sh"))
        self.assertTrue(run.startswith("python3 -m venv .venv && .venv/bin/pip install . &&"))
        self.assertTrue(run.endswith(".venv/bin/twistd -n aigateway --demo"))
        self.assertTrue(test.startswith("python3 -m venv .venv && .venv/bin/pip install '.[test]' &&"))
        self.assertTrue(test.endswith(".venv/bin/python -m pytest"))

    def test_endpoints(self) -> None:
        """The table of endpoints has every route, and no other."""
        documented = {endpoint for row in rows("Endpoints") for endpoint in quoted(row[0])}
        routes = {
            f"{method} {rule.rule}"
            for rule in Gateway.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"OPTIONS"}
        }
        implied = {f"HEAD {route.removeprefix('GET ')}" for route in routes if route.startswith("GET ")}
        self.assertEqual(documented, routes - (implied - {"HEAD /"}))

    def test_errors(self) -> None:
        """The table of errors has every kind that is raised, with status and types as rendered."""
        table = rows("Errors")
        classes = [
            value
            for value in vars(errors).values()
            if isinstance(value, type)
            and issubclass(value, GatewayError)
            and value not in (GatewayError, errors.UpstreamError)
        ]
        kinds = {value.kind for value in classes}
        self.assertEqual({kind for row in table for kind in quoted(row[1])}, kinds)
        made = [
            *(_made(value) for value in classes),
            errors.UpstreamBusy("", overloaded=True),
            errors.UpstreamFailed("", timed_out=True),
            errors.AccountExhausted("", status=402),
        ]
        described = {(quoted(row[1])[0], quoted(row[3])[0]): row for row in table}
        for error in made:
            with self.subTest(kind=error.kind):
                claude, openai, gemini = (
                    DIALECTS[name].render_error(error, "req_1") for name in ("claude", "openai", "gemini")
                )
                row = described[error.kind, json.loads(claude.body)["error"]["type"]]
                self.assertEqual(quoted(row[4]), [json.loads(openai.body)["error"]["type"]])
                self.assertEqual(quoted(row[5]), [json.loads(gemini.body)["error"]["status"]])
                for answer in (claude, openai, gemini):
                    self.assertIn(str(answer.status), row[2])

    def test_of_no_machine(self) -> None:
        """The documents name no path of the machine that they were written on."""
        for document in DOCUMENTS:
            with self.subTest(document=document.name):
                self.assertNotRegex(document.read_text(encoding="utf-8"), r"/(work|tmp|home|root|Users)/")


def _made(kind: type[GatewayError]) -> GatewayError:
    if issubclass(kind, errors.UpstreamSilent):
        return kind("", limit="idle")
    return kind("")


def console() -> list[tuple[str, str]]:
    """The commands of the README's console blocks, each with what it prints."""
    found = []
    for block in blocks(README, "console"):
        command, _, output = block.removeprefix("$ ").partition("\n")
        found.append((command, output))
    return found


@pytest.mark.parametrize(("command", "output"), console())
def test_console(demo: Process, command: str, output: str) -> None:
    """The README's commands print what it shows, numbers of requests and dates aside; ``...``
    stands for anything."""
    told = shlex.split(command.replace(URL, f"http://localhost:{demo.port}"))
    shown = subprocess.run(told, stdout=subprocess.PIPE, check=True).stdout.decode()
    wanted, got = (re.sub(r"\d{9,}", "#", text).strip() + "\n" for text in (output, shown))
    if not doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS):
        assert got == wanted


def test_console_has_the_three_models() -> None:
    """There is a command for a model of each provider."""
    commands = "".join(command for command, _ in console())
    assert all(f'"model":"{model}"' in commands for model in ("gpt-4", "glm-4", "gemini-2.0-flash-exp"))


@pytest.mark.parametrize("code", blocks(README, "python"))
def test_snippets(demo: Process, code: str) -> None:
    """The README's Python runs as it stands, and prints the answer."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.replace(URL, f"http://localhost:{demo.port}"), {})  # noqa: S102 it is ours
    assert printed.getvalue() == "1, 2, 3, 4, 5\n"


def test_statistics(demo: Process) -> None:
    """The excerpt of ``/stats`` has only names that are there."""
    demo.post("/v1/messages", {"model": "gpt-4", "max_tokens": 9, "messages": []}).read()
    [excerpt] = blocks(README, "json")
    assert _names(json.loads(excerpt)) <= _names(demo.get("/stats")[1])


def _names(value: object, place: str = "") -> set[str]:
    if isinstance(value, dict):
        return {place}.union(*(_names(inner, f"{place}.{name}") for name, inner in value.items()))
    if isinstance(value, list):
        return {place}.union(*(_names(inner, f"{place}[]") for inner in value))
    return {place}


def test_unit_file() -> None:
    """The systemd unit waits longer for the end than the gateway does by default."""
    unit = (ROOT / "docs" / "aigateway.service").read_text(encoding="utf-8")
    config = parse("[providers.p]\nkind = 'openai'\naccounts = [{api_key='k'}]", {}, origin="x")
    [patience] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert float(patience) > config.drain + config.drain_delay


def test_plain_install_is_complete() -> None:
    """`setup.py` names every package there is, the folder of Twisted's plugins among them."""
    told = (ROOT / "setup.py").read_text(encoding="utf-8")
    packages = re.findall(r'"([a-z_.]+)"', told.split("packages=[")[1].split("]")[0])
    there = {_package(file) for file in (ROOT / "aigateway").rglob("*.py")}
    assert sorted(packages) == sorted([*there, "twisted.plugins"])
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


def _package(file: Path) -> str:
    return ".".join(file.parent.relative_to(ROOT).parts)
