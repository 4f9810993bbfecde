"""Every benchmark, with the smallest sizes: that it runs, and compares what it made; no time is looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.book import DATA, PAGE
from benchmarks.registry import BENCHMARKS
from migrator.lab import LabUnavailable
from migrator.lab.wheel import require_lab
from tests.support.bench import skip_unless_possible
from tests.support.cli import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_every_benchmark_runs(tmp_path: Path) -> None:
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        pytest.fail(done.stderr[-3000:])
    entries = json.loads((tmp_path / DATA).read_text(encoding="utf-8"))["benchmarks"]
    assert list(entries) == [benchmark.name for benchmark in BENCHMARKS]
    for entry in entries.values():
        assert any(result["runs"] for result in entry["results"])
    assert "| migrator |" in (tmp_path / PAGE).read_text(encoding="utf-8")
