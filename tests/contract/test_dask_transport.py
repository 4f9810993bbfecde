"""Texts for the workers of a real Dask cluster: answered, done again by others, or refused in words."""

from __future__ import annotations

import gc
import socket
import threading
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


NOBODY = ["nowhere", "ftp://one:8786", "tcp://127.0.0.1", "tls://127.0.0.1:9"]


@pytest.mark.parametrize("address", NOBODY)
def test_nobody_there_is_told_by_its_option(address: str) -> None:
    """At once, and in a sentence: no client of Dask's is left that says goodbye to nobody, with a traceback."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    before = {id(each) for each in gc.get_objects() if type(each).__name__ == "Client"}
    with pytest.raises(EngineRefused, match=rf"^{address} \(--scheduler\)") as caught, opened(address):
        pass
    assert caught.value.hint
    assert not [each for each in gc.get_objects() if type(each).__name__ == "Client" and id(each) not in before]


def test_another_service_is_no_scheduler() -> None:
    """The port of a dashboard, say."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer_as_a_web_server, args=[server])
        answering.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(EngineRefused, match="is no Dask scheduler"), opened(address):
            pass
        answering.join()


def _answer_as_a_web_server(server: socket.socket) -> None:
    caller, _ = server.accept()
    with caller:
        caller.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
