"""What several test modules share under pytest. (trial does not read it: the tests that it
runs need nothing from here.)"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .gateway_process import Process, endpoint, serving


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One ``twistd -n aigateway --demo`` for all who only talk to it. At the end it must have
    logged no traceback, and stop well."""
    folder = tmp_path_factory.mktemp("demo")
    process = serving(
        lambda port: Process("aigateway", "--demo", "--listen", endpoint(port), cwd=folder, port=port)
    )
    try:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in process.log
        assert "Unhandled" not in process.log
        assert process.errors == []
    finally:
        process.kill()
