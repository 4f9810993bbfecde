"""A source that is written to all the while: a clean cut comes along, and the run comes to an end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.cli import SECRET, Shell
from tests.support.portraits import connected, portray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench

NAME = "busy_source"
FIRST = 10_000
BATCH = 20


class Writer(threading.Thread):
    """Inserts batches one after the other, and deletes the last row of each before the next."""

    def __init__(self, uri: str) -> None:
        super().__init__(daemon=True)
        self._uri = uri
        self._ended = threading.Event()
        self.wrote_enough = threading.Event()

    def run(self) -> None:
        """Until told to end."""
        first = FIRST
        with connected(self._uri) as client:
            while not self._ended.is_set():
                client.insert(NAME, sources.dynamic_rows(first, first + BATCH), partition_name="north")
                first += BATCH
                client.delete(NAME, ids=[first - 1])
                if first >= FIRST + 5 * BATCH:
                    self.wrote_enough.set()
                time.sleep(0.05)

    def end(self) -> None:
        """End after the batch at hand."""
        self._ended.set()
        self.join(30)


@pytest.fixture
def writer(bench: Bench) -> Iterator[Writer]:
    """A busy writer to a collection that had rows before."""
    sources.fill_stirred(bench.a.uri, NAME)
    writer = Writer(bench.a.uri)
    writer.start()
    yield writer
    writer.end()


def test_a_busy_source_is_cut_cleanly(bench: Bench, writer: Writer, tmp_path: Path) -> None:
    shell = Shell(tmp_path, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write(
        "plan.yaml",
        f"version: 1\nname: busy\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\ncollections: [{NAME}]\n",
    )
    assert writer.wrote_enough.wait(60)

    first = shell.start("apply", "plan.yaml", "--yes").finish()
    assert first.code in {0, 51}, first.text
    writer.end()
    if first.code:
        assert shell.start("apply", "--resume").finish().code in {0, 51}

    left, right = portray(bench.a.uri, NAME), portray(bench.b.uri, NAME)
    came = {key for key in right.rows if key >= FIRST}
    last = max(came)
    assert right.count == len(right.rows)
    assert len(came) >= 4 * BATCH
    assert {key for key in left.rows if key <= last} == right.rows.keys() - {last if last not in left.rows else -1}
    assert all(left.rows[key] == row for key, row in right.rows.items() if key in left.rows)
    assert shell.run("plan", "plan.yaml", "--detailed-exitcode").out.count("the source has changed since") == 1
    assert right.aliases == left.aliases
