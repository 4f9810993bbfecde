"""One headless Chromium for all tests of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import Chromium, chromium, find_chromium

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    """It reaches loopback alone; a named skip where there is none."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: make chromium installs it, as root on Debian")
    with chromium(program) as running:
        yield running
