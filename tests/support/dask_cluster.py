"""A Dask cluster on loopback: a scheduler and worker processes, each with an environment of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import REPOSITORY
from tests.support.services.depot import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_WITHIN_S = 60.0


@dataclass(slots=True)
class DaskCluster:
    """Its scheduler at `port`, and its workers, one thread each."""

    folder: Path
    port: int = 0
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _scheduler: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Of its scheduler."""
        return f"tcp://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the scheduler and wait until it listens."""
        with socket.socket() as found:
            found.bind((HOST, 0))
            self.port = found.getsockname()[1]
        self._scheduler = self._spawn("scheduler", {}, "--host", HOST, "--port", str(self.port), "--no-dashboard")
        ends_at = time.monotonic() + _WITHIN_S
        while time.monotonic() < ends_at:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"the scheduler does not listen:\n{self.log('scheduler')}")

    def add_worker(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A worker with those variables; it joins when it is ready."""
        wanted = ("--nworkers", "1", "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", HOST)
        worker = self._spawn("worker", environment, self.address, *wanted, "--local-directory", str(self.folder))
        self.workers.append(worker)
        return worker

    def wait_for_workers(self) -> None:
        """Until all have joined."""
        ends_at = time.monotonic() + _WITHIN_S
        while self.log("scheduler").count("Register worker") < len(self.workers):
            assert time.monotonic() < ends_at, self.log("worker")
            time.sleep(0.1)

    def stop_scheduler(self) -> None:
        """As if its machine were lost."""
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        """End what is still there."""
        for process in (*self.workers, self._scheduler):
            if process is not None:
                process.kill()
                process.wait()

    def log(self, what: str) -> str:
        """What `scheduler`, or all of `worker`, wrote."""
        return (self.folder / f"{what}.log").read_text(encoding="utf-8")

    def _spawn(self, what: str, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(self.folder)}
        with (self.folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - Dask's own command
                [sys.executable, "-m", "dask", what, *arguments],
                cwd=self.folder,
                env={**own, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def dask_cluster(folder: Path, *environments: Mapping[str, str]) -> Iterator[DaskCluster]:
    """A scheduler, and a worker for each of `environments`."""
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    cluster = DaskCluster(folder)
    try:
        cluster.start()
        for each in environments:
            cluster.add_worker(each)
        cluster.wait_for_workers()
        yield cluster
    finally:
        cluster.stop()
