"""Milvus servers on storages of several kinds: fixture `storages`, and plan files between them."""

from __future__ import annotations

import json
from collections import ChainMap
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from migrator.lab import Lab, LabUnavailable, Place
from migrator.lab.wheel import require_lab
from tests.support.bench import skip_unless_possible
from tests.support.cli import Shell
from tests.support.portraits import portray
from tests.support.services.azure import Azurite, azurite
from tests.support.services.depot import LOCAL, Depot
from tests.support.services.google import Google, google
from tests.support.services.s3 import S3Service, keyed_s3

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from migrator.lab import Instance, LabState

STRANGER = {
    "AWS_ACCESS_KEY_ID": "AKIASTRANGER00000000",
    "AWS_SECRET_ACCESS_KEY": "strangers-secret-0815",
    "AWS_SESSION_TOKEN": "strangers-token-4712",
    "AZURE_STORAGE_ACCOUNT_NAME": "strangersaccount",
    "AZURE_STORAGE_ACCOUNT_KEY": "c3RyYW5nZXJzLWtleQ==",
    "GOOGLE_SERVICE_ACCOUNT_KEY": "strangers-google-key",
}
"""Variables of somebody else, which the clients of all providers would take up by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A Milvus server and the storage behind it, as a plan file names them."""

    instance: Instance
    depot: Depot

    @property
    def uri(self) -> str:
        """The server's address."""
        return self.instance.uri

    def cluster(self) -> dict[str, Any]:
        """Its block."""
        storage = {**self.depot.storage, "root_path": self.instance.root_path}
        return {"milvus": {"uri": self.uri}, "storage": storage}

    def through(self, port: int) -> Side:
        """The same with its storage reached at another port."""
        return replace(self, depot=self.depot.through(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A plan file, the folder it is applied from, and where its rows come from and go to."""

    shell: Shell
    name: str
    source: Side
    target: Side
    collections: Sequence[str]

    @property
    def plan(self) -> str:
        """The plan file."""
        return f"{self.name}.yaml"

    def target_name(self, collection: str) -> str:
        """Where a collection goes."""
        return f"{collection}_{self.name.replace('-', '_')}"

    def run_id(self) -> str:
        """The one run there was."""
        (run,) = [line.split()[0] for line in self.shell.run("runs").out.splitlines() if line.startswith(self.name)]
        return run

    def assert_all_arrived(self) -> None:
        """Every row, once, and all around the rows."""
        for name in self.collections:
            left, right = portray(self.source.uri, name), portray(self.target.uri, self.target_name(name))
            assert right.count == left.count == len(left.rows)
            assert right.rows == left.rows
            assert right.partitions == left.partitions
            assert right.description == left.description
            assert right.indexes == left.indexes


@dataclass(frozen=True, kw_only=True)
class Storages:
    """Servers `a` and `c` in two buckets of one service, `b` in another service, `d` in a directory."""

    folder: Path
    stack: ExitStack
    north: S3Service
    south: S3Service
    a: Side
    b: Side
    c: Side
    d: Side

    @cached_property
    def azure(self) -> Azurite:
        """Azure's blobs, started when it is asked for; of no Milvus."""
        return self.stack.enter_context(azurite(self.folder / "azurite"))

    @cached_property
    def google(self) -> Google:
        """Google's storage, started when it is asked for; of no Milvus."""
        return self.stack.enter_context(google(self.folder / "google"))


def _shell(folder: Path, depots: Sequence[Depot], environment: Mapping[str, str]) -> Shell:
    folder.mkdir(parents=True, exist_ok=True)
    return Shell(folder, ChainMap(dict(environment), *(dict(depot.environment) for depot in depots)))


def _document(name: str, parts: dict[str, Any], names: Mapping[str, str | None]) -> str:
    """A plan file; without a name at the target, there is none."""
    collections = [
        source if target is None else {"source": source, "target": target, "aliases": "none"}
        for source, target in names.items()
    ]
    options = {"retry": {"max_backoff": "2s", "max_elapsed": "3m"}, **parts.pop("options", {})}
    return json.dumps({"version": 1, "name": name, **parts, "collections": collections, "options": options}, indent=1)


def a_move(
    folder: Path,
    name: str,
    source: Side,
    target: Side,
    collections: Sequence[str],
    *,
    staging: Depot | None = None,
    options: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Move:
    """Write a plan file; without `staging` the dump goes to the target's storage; `environment` is added."""
    place = _staging(folder, name, target.depot if staging is None else staging)
    if staging is None:
        del place["storage"]
    depots = [source.depot, target.depot, *([staging] if staging else [])]
    move = Move(
        shell=_shell(folder, depots, environment or {}),
        name=name,
        source=source,
        target=target,
        collections=collections,
    )
    parts = {"source": source.cluster(), "target": target.cluster(), "staging": place, "options": options or {}}
    move.shell.write(move.plan, _document(name, parts, {each: move.target_name(each) for each in collections}))
    return move


def a_backup(folder: Path, source: Side, target: Side, collections: Sequence[str], depot: Depot) -> Move:
    """Write a plan file that backs up into a depot, and one that restores from there.

    The plan of what is returned is the second; the first is `backup.yaml`.
    """
    name = f"from-{depot.name}"
    move = Move(
        shell=_shell(folder, [source.depot, target.depot, depot], {}),
        name=name,
        source=source,
        target=target,
        collections=collections,
    )
    dump = _staging(folder, "parcel", depot)
    made = {"source": source.cluster(), "staging": dump}
    move.shell.write("backup.yaml", _document("into-depot", made, dict.fromkeys(collections)))
    kept = {"storage": {**depot.storage, "root_path": dump["root_path"]}, "name": "parcel"}
    parts = {
        "source": {"backup": kept},
        "target": target.cluster(),
        "staging": {"backup_name": f"again_{depot.name}"},
    }
    move.shell.write(move.plan, _document(name, parts, {each: move.target_name(each) for each in collections}))
    return move


def _staging(folder: Path, name: str, depot: Depot) -> dict[str, Any]:
    root_path = str(folder / "dumps") if depot.name == "local" else "dumps"
    return {"storage": dict(depot.storage), "root_path": root_path, "backup_name": name.replace("-", "_")}


def place_in(service: S3Service, bucket: str) -> Place:
    """Where a Milvus server keeps its files, with the service's lasting keys."""
    keys = service.lasting
    return Place(
        port=service.port,
        bucket=bucket,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
    )


@pytest.fixture(scope="module")
def storages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storages]:
    """Four Milvus servers and two S3 services that check keys; others are started when they are asked for."""
    folder = tmp_path_factory.mktemp("storages")
    with ExitStack() as stack:
        north = stack.enter_context(keyed_s3("north", folder / "north"))
        south = stack.enter_context(keyed_s3("south", folder / "south"))
        depots = [north.depot("north-one"), south.depot("south_One"), north.depot("north-two"), LOCAL]
        services = (north, south, north)
        places = [place_in(service, depot.storage["bucket"]) for service, depot in zip(services, depots, strict=False)]
        sides = [
            Side(instance=instance, depot=depot)
            for instance, depot in zip(started(stack, folder, (*places, None)).instances, depots, strict=True)
        ]
        a, b, c, d = sides
        yield Storages(folder=folder, stack=stack, north=north, south=south, a=a, b=b, c=c, d=d)


def started(stack: ExitStack, folder: Path, places: tuple[Place | None, ...]) -> LabState:
    """One Milvus server for each place, stopped with `stack`."""
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)
    lab = Lab(folder / "lab")
    state = lab.up(instances=len(places), auto_compaction=False, places=places)
    stack.callback(lab.down)
    return state
