"""Texts for the workers of a real Dask cluster: answered, done again by others, or refused in words."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.dask_engine import DaskTransport
from migrator.errors import EngineRefused, EngineUnavailable
from tests.support import dask_work
from tests.support.dask_cluster import DaskCluster, dask_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Dask's own threads and sockets end when they like.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """Two workers, of a thread each."""
    with dask_cluster(tmp_path / "dask", {}, {}) as cluster:
        yield cluster


def opened(address: str) -> closing[DaskTransport]:
    return closing(DaskTransport(address, dask_work.answer, dask_work.version))


def test_a_lost_worker_costs_its_text_and_a_lost_scheduler_is_told(cluster: DaskCluster, tmp_path: Path) -> None:
    with opened(cluster.address) as transport:
        assert transport.width == 2
        assert transport.send("a text").result(30) == "A TEXT"
        folder = tmp_path / "who"
        folder.mkdir()
        sent = transport.send(str(folder))
        ends_at = time.monotonic() + 30
        while not (first := [path.name for path in folder.iterdir()]):
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        (lost,) = [worker for worker in cluster.workers if f"{worker.pid}" == first[0]]
        lost.kill()
        assert sent.result(60) != first[0]
        cluster.stop_scheduler()
        with pytest.raises(EngineUnavailable):
            transport.send("another text").result(60)


def test_workers_of_another_version_are_refused(cluster: DaskCluster) -> None:
    cluster.add_worker({dask_work.VERSION: "2"})
    cluster.wait_for_workers()
    with pytest.raises(EngineRefused, match=r"has migrator 2 at tcp://.*, and this is 1"), opened(cluster.address):
        pass


def test_nobody_there_is_told_by_its_option() -> None:
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    with pytest.raises(EngineRefused, match=r"nowhere \(--scheduler\) is no address"), opened("nowhere"):
        pass
