"""The demo, as a visitor runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.lab import LabUnavailable
from migrator.lab.wheel import require_lab
from tests.support.bench import skip_unless_possible
from tests.support.cli import Shell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.exhaustive
def test_the_demo_comes_to_its_end(tmp_path: Path) -> None:
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)
    answer = Shell(tmp_path, {}).start("demo", "--folder", "demo").finish(580)
    assert answer.code == 0, answer.text
    assert "50,474 rows of coll and coll_bak are equal." in answer.out
    assert "of 3 imports completed and the target at work on the rest" in answer.out
    assert "50,474 rows equal, none lost, none doubled: count(*) is 50,474." in answer.out
    assert "changed or removed: none" in answer.out
