"""``python -m fuzz TARGET [libFuzzer's options]``: fuzz one target until something breaks."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["aigateway"]):
    from .mutation import mutate
    from .seeds import seeds
    from .targets import TARGETS

HERE = Path(__file__).resolve().parent
STRUCTURED = ("readers", "streams", "replies", "errors", "requests", "checks")
"""The targets whose inputs are JSON, or a stream of it."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path, help="where inputs are kept (fuzz/corpus/TARGET unless given)")
    chosen, options = parser.parse_known_args()
    folder: Path = chosen.corpus or HERE / "corpus" / chosen.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(chosen.target)):
        (folder / f"seed-{number}").write_bytes(seed)
    found = HERE / "found" / chosen.target
    found.mkdir(parents=True, exist_ok=True)
    # One input may take ten seconds and 512 MiB; the recordings go in whole.
    limits = ["-timeout=10", "-rss_limit_mb=512", "-max_len=20000", f"-artifact_prefix={found}/"]
    arguments = [sys.argv[0], *limits, *options, str(folder)]
    if chosen.target in STRUCTURED:
        atheris.Setup(arguments, TARGETS[chosen.target], custom_mutator=_mutator)
    else:
        atheris.Setup(arguments, TARGETS[chosen.target])
    atheris.Fuzz()


def _mutator(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own mutations for one input in eight; those that know the structure for the others."""
    if seed % 8 == 0:
        return bytes(atheris.Mutate(data, max_size))
    return mutate(data, random.Random(seed))[:max_size]


if __name__ == "__main__":
    main()
