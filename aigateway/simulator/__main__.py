"""``python -m aigateway.simulator``: the simulated providers without a gateway, for rehearsals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from twisted.internet.error import CannotListenError

from .provider import PACE
from .service import Simulators


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; before that, print the providers as a part of a configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m aigateway.simulator",
        description="Simulated OpenAI, GLM, Antigravity, Anthropic and Gemini, for a gateway's configuration:"
        " they answer without a key or a network, and fail as docs/faults.md says.",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="the first of five ports on 127.0.0.1; 0: any that are free"
    )
    parser.add_argument("--pace", type=float, default=PACE, help="seconds between chunks; 0: all at once")
    chosen = parser.parse_args(arguments)
    from twisted.internet import reactor

    simulators = Simulators(reactor, chosen.pace, chosen.port)
    try:
        base_urls = simulators.listen()
    except CannotListenError as error:
        parser.error(str(error))
    sys.stdout.write(configuration(base_urls))
    sys.stdout.flush()
    reactor.run()
    return 0


def configuration(base_urls: dict[str, str]) -> str:
    """The providers at ``base_urls`` as TOML."""
    lines = []
    for name, url in base_urls.items():
        oauth = name == "antigravity"
        secret = 'access_token = "any", project = "any"' if oauth else 'api_key = "any"'
        lines += [f"[providers.simulated-{name}]", f'kind = "{name}"', f'base_url = "{url}"']
        if name == "openai":
            lines.append("responses = true")
        lines += [f'accounts = [{{ name = "one", {secret} }}]', ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
