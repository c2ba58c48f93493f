"""How aigateway is built and installed. The tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


def version() -> str:
    """The version, read and not imported: what aigateway needs is not installed yet."""
    found = VERSION.search((HERE / "aigateway" / "__init__.py").read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit("aigateway/__init__.py has no __version__")
    return found[1]


setup(
    name="aigateway",
    version=version(),
    description="A Twisted daemon between AI clients and model providers, which streams and translates",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the aigateway authors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # Each by name: `twisted.plugins` has no __init__.py (the folder is Twisted's), so that no
    # search would find it. A test checks that no package is missing.
    packages=[
        "aigateway",
        "aigateway.check",
        "aigateway.config",
        "aigateway.dialects",
        "aigateway.dialects.claude",
        "aigateway.dialects.gemini",
        "aigateway.dialects.openai",
        "aigateway.dialects.responses",
        "aigateway.providers",
        "aigateway.simulator",
        "twisted.plugins",
    ],
    package_data={"aigateway": ["py.typed"]},
    include_package_data=False,
    zip_safe=False,  # twistd finds plugins in folders
    install_requires=[
        "Twisted[tls]>=26.10",
        "klein>=24.8",
        "treq>=26.7",
        "Werkzeug>=3.1",  # klein's routing, whose exceptions we answer
        "zope.interface>=8",
        "msgspec>=0.22",
        "prometheus-client>=0.25",  # the text format of /metrics
        "service-identity>=26.1",
    ],
    extras_require={
        "test": [
            "pytest>=9.2",
            "pytest-twisted>=1.14.3",
            "hypothesis>=6.170",
            "coverage>=7.17",
            "h11>=0.16",
            "httpx-sse>=0.4.3",
            "httpx>=0.28",  # httpx-sse imports it, and does not require it
            # These minor releases and no other: docs/fields.md names every field that they know, and
            # a test fails on one that it does not.
            "openai~=3.54.0",
            "anthropic~=2.12.0",
            "google-genai~=3.4.0",
        ],
        # Apart from the tests, which need no fuzzer: it has wheels for few platforms.
        "fuzz": ["atheris>=3.0", "hypothesis>=6.170"],
        "lint": ["ruff>=0.17.6", "mypy>=2.4", "mypy-zope>=1.0.17"],
    },
    classifiers=[
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Internet :: WWW/HTTP",
        "Typing :: Typed",
    ],
)
