"""Streams through this machine hold no more memory than they are given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.support.services.depot import REPOSITORY
from tests.support.services.kinds import depot_of

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 1024**2


def test_many_large_objects_at_once(tmp_path: Path) -> None:
    """20 objects of 32 MiB, all at a time for their workers, take 96 MiB and what sending them needs."""
    file = tmp_path / "large"
    file.write_bytes(os.urandom(MEBIBYTE) * 32)
    with depot_of("s3", tmp_path / "s3") as depot:
        order = {
            "depot": asdict(depot),
            "file": str(file),
            "count": 20,
            "part_bytes": 8 * MEBIBYTE,
            "buffered_bytes": 96 * MEBIBYTE,
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.stream_many"],
            input=json.dumps(order),
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            check=True,
        )
        stored = {entry.key: entry.size_bytes for entry in depot.open().list_objects("")}
    assert stored == dict.fromkeys(["once", *map(str, range(20))], 32 * MEBIBYTE)
    assert int(done.stdout) < 192 * MEBIBYTE
