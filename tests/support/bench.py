"""Real servers for tests: fixture `bench`, two Milvus servers and one S3 server, empty at each module's beginning."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import S3Store

from migrator.lab import Lab, LabUnavailable, Settings
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.lab import Instance, LabState


_SHARED = Settings(auto_compaction=False)
_running: list[Lab] = []
"""The shared servers' lab, while they run."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What tells an object from what it was before."""

    size_bytes: int
    e_tag: str | None


@dataclass(frozen=True, slots=True)
class Bench:
    """A running lab, and a look into its bucket."""

    lab: Lab
    state: LabState

    @property
    def a(self) -> Instance:
        """The first Milvus server, `milvus_A`, cluster `a`."""
        return self.state.instances[0]

    @property
    def b(self) -> Instance:
        """The second one."""
        return self.state.instances[1]

    @property
    def clusters_file(self) -> Path:
        """For `--clusters`."""
        return self.lab.clusters_file

    @property
    def environment(self) -> dict[str, str]:
        """The variables the clusters file needs."""
        return self.state.environment

    def bucket_keys(self, prefix: str = "") -> dict[str, StoredObject]:
        """Return every object under `prefix` by its key: equal before and after if nothing was touched."""
        return {
            meta["path"]: StoredObject(meta["size"], meta["e_tag"])
            for chunk in obstore.list(self._store(), prefix=prefix or None)
            for meta in chunk
        }

    def read_object(self, key: str) -> bytes:
        """Return an object's content."""
        return bytes(obstore.get(self._store(), key).bytes())

    def write_object(self, key: str, content: bytes) -> None:
        """Put an object there, or another content in its place."""
        obstore.put(self._store(), key, content)

    def delete_object(self, key: str) -> None:
        """Remove an object, as somebody does who should not."""
        obstore.delete(self._store(), key)

    def sweep(self) -> None:
        """Drop every collection and database, and remove all that is not the servers' own from the bucket."""
        for instance in self.state.instances:
            with connected(instance.uri) as client:
                databases = client.list_databases()
            for database in databases:
                _drop_all(instance.uri, database)
        strangers = [key for key in self.bucket_keys() if not key.startswith(tuple(self._roots))]
        obstore.delete(self._store(), strangers)

    @property
    def _roots(self) -> list[str]:
        return [f"{instance.root_path}/" for instance in self.state.instances]

    def _store(self) -> S3Store:
        return S3Store(
            self.state.bucket,
            endpoint=self.state.s3_endpoint,
            access_key_id=self.state.access_key_id,
            secret_access_key=self.state.secret_access_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )


def _drop_all(uri: str, database: str) -> None:
    with connected(uri, database) as client:
        for name in client.list_collections():
            for alias in client.describe_collection(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
        if database != "default":
            client.drop_database(database)


def skip_unless_possible(error: LabUnavailable) -> None:
    """Skip the test by name, or let it fail where a skip would hide that nothing was tested.

    Raises:
        LabUnavailable: The same, on CI.
    """
    if os.environ.get("CI"):
        raise error
    pytest.skip(f"no lab on this machine: {error.message}")


@pytest.fixture(scope="session")
def running_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The one that most modules share, one after the other: each pair of servers costs a good part of a core."""
    with start_bench(tmp_path_factory, _SHARED) as started:
        _running.append(started.lab)
        yield started


def stop_running() -> None:
    """Stop the shared servers, if they run: `bench` starts them again where it has to."""
    while _running:
        _running.pop().down()


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Two Milvus servers and an S3 server, with nothing in them when a module begins.

    Auto compaction is off, so that segments stay as a test made them. For other settings, on servers of its own:
    `@pytest.mark.parametrize("bench", [Settings(auto_compaction=True)], indirect=True)`.
    """
    settings: Settings | None = getattr(request, "param", None)
    if settings is not None:
        with start_bench(tmp_path_factory, settings) as started:
            yield started
        return
    running: Bench = request.getfixturevalue("running_bench")
    if not _running:
        running.lab.up(**_SHARED.model_dump())
        _running.append(running.lab)
    running = Bench(running.lab, running.lab.state())  # another module may have killed a server and started it again
    running.sweep()
    yield running


@contextmanager
def start_bench(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Bench]:
    """Servers that are stopped at the end whatever happens."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        state = lab.up(**settings.model_dump())
    except LabUnavailable as error:
        skip_unless_possible(error)
        raise
    try:
        yield Bench(lab, state)
    finally:
        lab.down()
        for instance in state.instances:  # pytest keeps the folders of three sessions: logs are enough of that
            shutil.rmtree(lab.folder / "servers" / instance.name / "data", ignore_errors=True)
