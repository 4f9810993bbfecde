"""Servers that die in the middle, and a disk that fills up: every row exactly once, in the end."""

from __future__ import annotations

import resource
import threading
import time
from typing import TYPE_CHECKING

import pytest

from migrator.lab import LabError
from tests.support import sources
from tests.support.toxics.detour import Detour, detour, plan_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench
    from tests.support.toxics import calls

PLAIN = "plain_mortal"
SERVER = {"source": "milvus_A", "target": "milvus_B"}


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """A collection at the source."""
    sources.fill_small(bench.a.uri, PLAIN, rows=200, shards=2, deleted=11)
    return bench


@pytest.fixture
def way(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Detour]:
    """A plan that moves it by way of proxies, not applied yet."""
    with detour(filled, tmp_path, plan_name(request.node.name), (PLAIN,)) as made:
        yield made


# -- servers that die -------------------------------------------------------------------------------------------------


def restart(way: Detour, side: str) -> None:
    """Start a server that was killed; where its old ports are not free at once, try again."""
    for _ in range(3):
        try:
            way.bench.lab.start(SERVER[side])
        except LabError:
            time.sleep(2)
        else:
            return
    way.bench.lab.start(SERVER[side])


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("side", "method"),
    [
        ("source", "Flush"),
        ("source", "GetPersistentSegmentInfo"),
        ("target", "Import"),
        ("target", "GetImportState"),
        ("target", "CreateIndex"),
    ],
)
def test_a_server_that_dies_and_comes_back(way: Detour, side: str, method: str) -> None:
    """Killed right after it took a call, and started again: the run outlasts it."""
    died = threading.Event()

    def kill_after(call: calls.Call) -> bytes:
        reply = call.forward()
        way.bench.lab.kill(SERVER[side])
        died.set()
        return reply

    running = way.start()
    running.wait_for_event("run_started")
    (way.source if side == "source" else way.target).calls.poison(method, kill_after)
    assert died.wait(60)
    restart(way, side)
    answer = running.finish(within_s=400)
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


# -- a disk that is full ----------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("step", ["copy_segments", "import_segments", "create_index"])
def test_a_disk_that_is_full(way: Detour, step: str) -> None:
    """The journal cannot grow: nothing goes on without it, and a resume with room finishes."""
    running = way.shell.start("apply", "plan.yaml", "--yes", "--format", "json")
    running.wait_for_event("step_started", step)
    (log,) = (way.shell.folder / ".migrator" / "runs").glob("*/journal.db-wal")
    full = log.stat().st_size
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    answer = running.finish()
    assert answer.code == 20, answer.text
    assert "the journal" in answer.err
    assert "journal.db cannot be used" in answer.err
    assert "transaction" not in answer.text

    way.resume()
    way.assert_all_arrived()
