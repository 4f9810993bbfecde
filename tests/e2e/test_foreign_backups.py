"""Backups of milvus-backup's generations, in places of all kinds, restored on a real server."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from obstore.store import S3Store

from tests.support import sources
from tests.support.cli import SECRET, Shell
from tests.support.foreign_backups import Foreign, first_release, take
from tests.support.portraits import connected, portray

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bench import Bench
    from tests.support.portraits import Portrait

NAMES = ("fb_stirred", "fb_kinds", "fb_binary", "fb_tenant", "fb_hollow", "fb_tuned", "fb_shop.order_heads")
KEYS = (
    "credentials: {type: static, access_key_id: {env: S3_ACCESS_KEY_ID}, "
    "secret_access_key: {env: S3_SECRET_ACCESS_KEY}}"
)
PLAN = """\
version: 1
name: {name}
clusters: {clusters}
source: {{backup: {{storage: {{{storage}}}, name: {name}}}}}
target: b
staging: {{root_path: foreign_restored}}
collections: [{{source: "*.*", target: "{{{{ database }}}}.{{{{ collection }}}}_{name}"}}]
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was taken, what its collections are, and where to restore it."""

    bench: Bench
    shell: Shell
    taken: Foreign
    left: dict[str, Portrait]

    def restore(self, name: str, storage: str) -> None:
        """Plan and apply."""
        plan = PLAN.format(name=name, clusters=self.bench.clusters_file, storage=storage)
        self.shell.write(f"{name}.yaml", plan)
        self.shell.run("apply", f"{name}.yaml", "--yes")

    def put(self, bucket: str, prefix: str, found: Foreign) -> str:
        """Write a backup into a bucket; the place as a plan names it."""
        state = self.bench.state
        request = urllib.request.Request(f"{state.s3_endpoint}/{bucket}", method="PUT")  # noqa: S310 - the lab's own
        if bucket != state.bucket:
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - as above
        store = S3Store(
            bucket,
            endpoint=state.s3_endpoint,
            access_key_id=state.access_key_id,
            secret_access_key=state.secret_access_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        for key, data in found.files().items():
            obstore.put(store, f"{prefix}/{key}", data)
        root = prefix.rpartition("/")[0]
        return f"provider: minio, endpoint: {state.s3_endpoint}, bucket: {bucket}, root_path: '{root}', {KEYS}"

    def require_restored(self, name: str, *collections: str, told: bool = True) -> None:
        """What stands at the target is what was backed up; `told` is whether its load state was."""
        for source in collections:
            database, _, collection = source.rpartition(".")
            right, left = portray(self.bench.b.uri, f"{collection}_{name}", database or "default"), self.left[source]
            assert right.rows == left.rows, source
            assert right.partitions == left.partitions, source
            assert right.description == left.description, source
            assert right.indexes == left.indexes, source
            assert right.is_loaded == (left.is_loaded and told), source


@pytest.fixture(scope="module")
def scene(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    uri = bench.a.uri
    with connected(uri) as client:
        client.create_database("fb_shop")
    calls: list[Callable[[], object]] = [
        partial(sources.fill_stirred, uri, "fb_stirred"),
        partial(sources.fill_kinds, uri, "fb_kinds"),
        partial(sources.fill_binary, uri, "fb_binary"),
        partial(sources.fill_by_tenant, uri, "fb_tenant"),
        partial(sources.fill_empty, uri, "fb_hollow"),
        partial(sources.fill_tuned, uri, "fb_tuned"),
        partial(sources.fill_small, uri, "order_heads", rows=40, database="fb_shop", deleted=2),
    ]
    with ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(call) for call in calls]:
            job.result()
    left = {}
    for source in NAMES:
        database, _, collection = source.rpartition(".")
        left[source] = portray(uri, collection, database or "default")
    shell = Shell(tmp_path_factory.mktemp("foreign"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    return Scene(bench, shell, take(bench, bench.a, *NAMES), left)


def test_a_backup_of_the_newest_release(scene: Scene) -> None:
    names = ["fb_stirred", "fb_kinds", "fb_hollow", "fb_tuned"]
    scene.restore("newest", scene.put(scene.bench.state.bucket, "foreign/newest", scene.taken.only(*names)))
    scene.require_restored("newest", *names)
    with connected(scene.bench.b.uri) as client:
        described = client.describe_collection("fb_stirred_newest")
    assert set(described["aliases"]) == set(scene.left["fb_stirred"].aliases) != set()


def test_a_backup_of_the_first_releases_in_the_root_of_another_bucket(scene: Scene) -> None:
    """Of Milvus 2.2, without a group, in four files."""
    names = ["fb_binary", "fb_tenant", "fb_shop.order_heads"]
    early = first_release(scene.taken.only("fb_binary", "fb_tenant", "order_heads"))
    early = replace(early, meta=early.meta | {"milvus_version": "v2.2.16"})
    scene.restore("early", scene.put("fb-elsewhere", "early", early))
    scene.require_restored("early", *names)


def test_a_backup_in_a_directory_in_odd_spelling(scene: Scene, tmp_path: Path) -> None:
    """One file of meta alone: numbers as text, capitals, null, what nobody knows, indexes as etcd has them."""

    def odd_index(index: dict[str, Any]) -> dict[str, Any]:
        given = [{"key": key, "value": value} for key, value in index.pop("params").items()]
        return index | {"user_index_params": given, "index_params": [], "is_auto_index": False, "create_time": 1}

    def odd_segment(segment: dict[str, Any]) -> dict[str, Any]:
        segment["deltalogs"] = None
        return {key.upper(): str(value) if isinstance(value, int) else value for key, value in segment.items()} | {
            "backuped": True,
            "is_l0": False,
            "storage_version": "0",
        }

    def odd_collection(entry: dict[str, Any]) -> dict[str, Any]:
        schema = entry["schema"] | {"properties": entry.pop("properties"), "novel": {"a": 1}}
        return entry | {"schema": schema, "l0_segments": [], "shards_num": str(entry["shards_num"]), "aliases": None}

    odd = scene.taken.only("fb_tuned", "fb_kinds").changed(
        index=odd_index, segment=odd_segment, collection=odd_collection
    )
    odd = replace(odd, has_level_files=False)
    for key, data in odd.files().items():
        path = tmp_path / "some backups" / "odd" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    storage = f"provider: local, root_path: '{tmp_path / 'some backups'}'"
    scene.restore("odd", storage)
    scene.require_restored("odd", "fb_tuned", "fb_kinds")
    listed = json.loads(scene.shell.run("backup", "list", "odd.yaml", "--format", "json").out)["backups"]
    assert [(each["name"], each["problem"], each["collections"]) for each in listed] == [("odd", "", 2)]
