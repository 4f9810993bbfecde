"""The servers that benchmarks share: an object store with two buckets, and two Milvus servers in the first of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchmarks.bench import BenchmarkFailed
from migrator.lab import Lab
from tests.support.portraits import connected
from tests.support.services.rgw import PROGRAMS, rados_gateway
from tests.support.services.s3 import keyed_s3
from tests.support.storages import Side, place_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from tests.support.services.depot import Depot
    from tests.support.services.s3 import S3Service

SOURCE_BUCKET, OTHER_BUCKET = "bench-one", "bench-two"
_GATEWAY_BYTES = 8 * 1024**3


@dataclass(kw_only=True)
class Servers:
    """An S3 service; the Milvus servers are started when they are asked for."""

    stack: ExitStack
    folder: Path
    store: S3Service
    store_is: str
    """For a reader of the results."""
    depots: tuple[Depot, Depot]
    """Two buckets of the service."""

    @cached_property
    def _lab(self) -> Lab:
        place = place_in(self.store, SOURCE_BUCKET)
        lab = Lab(self.folder / "lab")
        lab.up(instances=2, auto_compaction=False, places=(place, place))
        self.stack.callback(lab.down)
        return lab

    @property
    def sides(self) -> tuple[Side, Side]:
        """Two Milvus servers in the first bucket, below a root path of each; no segment is compacted by itself.

        One that ended, as they do on a machine that gives them no time, is started again.
        """
        for server in self._lab.state().servers:
            if not server.is_alive:
                self._lab.start(server.name)
        first, second = (Side(instance=each, depot=self.depots[0]) for each in self._lab.state().instances)
        return first, second

    @property
    def environment(self) -> Mapping[str, str]:
        """What plan files of these servers refer to."""
        return self.depots[0].environment

    def partitions(self, collection: str) -> Sequence[str]:
        """The folders of the first server's insert logs of a collection, one for each partition that has some."""
        with connected(self.sides[0].uri) as client:
            collection_id = client.describe_collection(collection)["collection_id"]
        folder = f"{self.sides[0].instance.root_path}/insert_log/{collection_id}"
        found = self.store.keys(SOURCE_BUCKET, f"{folder}/")
        return sorted({"/".join(key.split("/")[:4]) for key in found})

    def plan(
        self,
        folder: Path,
        name: str,
        collections: Sequence[str],
        *,
        target_of: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        **entry: Any,  # noqa: ANN401 - members of a collection's entry
    ) -> Path:
        """Write a plan file from the first server to the second, its dump in the same bucket; `entry` is of each."""
        folder.mkdir(parents=True, exist_ok=True)
        source, target = self.sides
        names = target_of or {each: f"{each}_{name.replace('-', '_')}" for each in collections}
        document = {
            "version": 1,
            "name": name,
            "source": source.cluster(),
            "target": target.cluster(),
            "staging": {
                "storage": dict(self.depots[0].storage),
                "root_path": "dumps",
                "backup_name": name.replace("-", "_"),
            },
            "collections": [
                {"source": each, "target": names[each], "aliases": "none", **entry} for each in collections
            ],
            "options": {"retry": {"max_elapsed": "60s"}, **(options or {})},
        }
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        return path


def start_servers(stack: ExitStack, folder: Path, *, is_smoke: bool) -> Servers:
    """Ceph's gateway; for a smoke run, and where it is not installed, an S3 server of moto's.

    Raises:
        BenchmarkFailed: There is no gateway here, and figures are wanted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_smoke:
        return _servers(stack, folder, stack.enter_context(keyed_s3("bench", folder / "s3")), "moto")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise BenchmarkFailed(f"no {', '.join(missing)}: make ceph installs them, as root on Debian")
    store = stack.enter_context(rados_gateway("bench", size_bytes=_GATEWAY_BYTES))
    return _servers(stack, folder, store, "Ceph's RADOS gateway")


def _servers(stack: ExitStack, folder: Path, store: S3Service, store_is: str) -> Servers:
    depots = store.depot(SOURCE_BUCKET), store.depot(OTHER_BUCKET)
    return Servers(stack=stack, folder=folder, store=store, store_is=store_is, depots=depots)
