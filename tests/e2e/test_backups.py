"""Backups both ways on real servers: one that is made without a target, and restores of trees of all ages."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.backup_trees import Tree
from tests.support.cli import SECRET, Answer, Shell
from tests.support.go_reader import read_as_go
from tests.support.portraits import collections_of, connected, portray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.backup_trees import Plain
    from tests.support.bench import Bench
    from tests.support.portraits import Portrait

NAMES = ["bk_stirred", "bk_kinds", "bk_by_tenant", "bk_hollow", "bk_wiped", "bk_tiny", "bk_shop.order_heads"]
"""Of no other test: servers may be shared with others."""
STORE = (
    "provider: minio, endpoint: {endpoint}, bucket: {bucket}, credentials: "
    "{{type: static, access_key_id: {{env: S3_ACCESS_KEY_ID}}, secret_access_key: {{env: S3_SECRET_ACCESS_KEY}}}}"
)
MAKE = """\
version: 1
name: make-{name}
clusters: {clusters}
source: a
staging: {{storage: {{{store}}}, root_path: backups, backup_name: {name}}}
collections: [bk_stirred, bk_kinds, bk_by_tenant, bk_hollow, bk_wiped, bk_tiny, bk_shop.order_heads]
"""
RESTORE = """\
version: 1
name: restore-{name}
clusters: {clusters}
source: {{backup: {{storage: {{{store}, root_path: backups}}, name: {name}}}}}
target: b
staging: {{root_path: restored, backup_name: {name}}}
defaults: {{target: "{{{{ database }}}}.{{{{ collection }}}}_{name}"}}
collections: {collections}
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made, and what was seen on its way."""

    shell: Shell
    tree: Tree
    planned: Answer
    applied: Answer
    again: Answer
    left: dict[str, Portrait]
    clusters_store: str

    def restore(self, bench: Bench, name: str, tree: Tree, collections: str = '["*.*"]') -> str:
        """Put a backup into the bucket, free its aliases at the target, and write a plan file that restores it."""
        with connected(bench.b.uri) as client:
            for taken in {alias for portrait in self.left.values() for alias in portrait.aliases}:
                client.drop_alias(taken)
        tree.write(bench, f"backups/{name}")
        text = RESTORE.format(
            name=name, clusters=bench.clusters_file, store=self.clusters_store, collections=collections
        )
        return str(self.shell.write(f"{name}.yaml", text))

    def require_restored(
        self, bench: Bench, name: str, sources: Sequence[str], *, with_aliases: bool = False, with_load: bool = True
    ) -> None:
        """What stands at the target is what the source was; aliases are those of the restore that came last."""
        for source in sources:
            database, _, collection = source.rpartition(".")
            right = portray(bench.b.uri, f"{collection}_{name}", database or "default")
            left = self.left[source]
            assert right.rows == left.rows, source
            assert right.count == left.count, source
            assert right.partitions == left.partitions, source
            assert right.description == left.description, source
            assert right.indexes == left.indexes, source
            if with_aliases:
                assert right.aliases == left.aliases, source
            assert right.is_loaded == (left.is_loaded and with_load), source


def fill(uri: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(fill_shop, uri),
            pool.submit(sources.fill_tiny_segments, uri, "bk_tiny"),
            pool.submit(sources.fill_stirred, uri, "bk_stirred"),
            pool.submit(sources.fill_kinds, uri, "bk_kinds"),
            pool.submit(sources.fill_by_tenant, uri, "bk_by_tenant"),
            pool.submit(sources.fill_empty, uri, "bk_hollow"),
            pool.submit(sources.fill_wiped, uri, "bk_wiped"),
        ]
        for job in jobs:
            job.result()


def fill_shop(uri: str) -> None:
    with connected(uri) as client:
        client.create_database("bk_shop")
    sources.fill_small(uri, "order_heads", rows=40, database="bk_shop", deleted=2)


def portraits(uri: str) -> dict[str, Portrait]:
    found = {}
    for source in NAMES:
        database, _, collection = source.rpartition(".")
        found[source] = portray(uri, collection, database or "default")
    return found


@pytest.fixture(scope="module")
def made(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Fill the source, and back it up by a plan without a target."""
    fill(bench.a.uri)
    shell = Shell(tmp_path_factory.mktemp("backups"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    store = STORE.format(endpoint=bench.state.s3_endpoint, bucket=bench.state.bucket)
    plan = str(shell.write("make.yaml", MAKE.format(name="made", clusters=bench.clusters_file, store=store)))
    planned = shell.run("plan", plan)
    checked = shell.run("check", plan, "--canary")
    assert "✓ a plan can be made: 7 of 7 collections to back up" in checked.out
    assert bench.bucket_keys("backups") == {}
    before = collections_of(bench.b.uri)
    applied = shell.run("apply", plan, "--yes")
    assert collections_of(bench.b.uri) == before  # a plan without a target leaves all others alone
    again = shell.run("apply", plan, "--yes")
    return Made(shell, Tree.read(bench, "backups/made"), planned, applied, again, portraits(bench.a.uri), store)


def test_a_plan_without_a_target_makes_a_backup(made: Made, bench: Bench) -> None:
    assert "7 collections to back up." in made.planned.out
    assert "import" not in made.planned.out
    assert "Dump: " in made.applied.out
    assert "backups/made/" in made.applied.out
    assert "Nothing to do." in made.again.out
    keys = bench.bucket_keys("backups/made/")
    listed = read_as_go({key.removeprefix("backups/made/"): bench.read_object(key) for key in keys})
    assert {name.removeprefix("default.") for name in listed.collections} == set(NAMES)


def test_status_and_rollback_of_a_backup(made: Made) -> None:
    assert "finished" in made.shell.run("status").out
    (run,) = [line.split()[0] for line in made.shell.run("runs").out.splitlines() if line.startswith("make-")]
    assert "it is finished" in made.shell.run("rollback", run, "--yes").out


def test_backups_are_listed_shown_and_deleted(made: Made, bench: Bench) -> None:
    made.tree.without_groups().bare().write(bench, "backups/foreign")
    bench.write_object("backups/broken/meta/full_meta.json", b'{"name"')
    plan = str(made.shell.folder / "make.yaml")
    listed = {
        each["name"]: each
        for each in json.loads(made.shell.run("backup", "list", plan, "--format", "json").out)["backups"]
    }
    assert (listed["made"]["collections"], listed["made"]["milvus_version"]) == (len(NAMES), "2.3.5")
    assert listed["made"]["whose"].startswith("run make-made-")
    assert (listed["foreign"]["whose"], listed["foreign"]["problem"]) == ("milvus-backup", "")
    assert "cut off" in listed["broken"]["problem"]
    shown = made.shell.run("backup", "show", plan).out
    assert "bk_stirred_live, bk_stirred_second" in shown
    assert "code (varchar, primary key)" in shown
    for name in ("foreign", "broken"):
        made.shell.run("backup", "delete", plan, name, code=2)
        made.shell.run("backup", "delete", plan, name, "--yes")
        assert bench.bucket_keys(f"backups/{name}/") == {}
    assert made.shell.run("backup", "delete", plan, "nobody", "--yes", code=2).err
    assert "there is no backup" in made.shell.run("backup", "show", plan, "nobody", code=2).err
    assert "made" in made.shell.run("backup", "list", plan).out


def test_a_backup_is_restored(made: Made, bench: Bench) -> None:
    plan = made.restore(bench, "whole", made.tree)
    said = made.shell.run("plan", plan).out
    assert "backup whole at" in said
    assert "made by Milvus v2.3.5 on 20" in said
    assert "the target imported 1 row" in made.shell.run("check", plan, "--canary").out
    made.shell.run("apply", plan, "--yes")
    made.require_restored(bench, "whole", NAMES, with_aliases=True)
    assert "Nothing to do." in made.shell.run("apply", plan, "--yes").out
    assert "dump and target are equal: every value of 770 rows" in made.shell.run("verify", plan).out


def test_a_bare_backup_of_an_early_release_is_restored(made: Made, bench: Bench) -> None:
    """No groups, level files alone, no optional key, nothing of `default`, and files that are nobody's."""
    tree = made.tree.without_groups().bare()
    strangers = {
        "insert_log/1/2/3/100/4": b"of another collection",
        next(iter(tree.binlogs)).rpartition("/")[0] + "/notes.txt": b"x",
        "index_files/1/2": b"x",
    }
    first = tree.meta["collection_backups"][0]
    partition = first["partition_backups"][0]["partition_id"]
    strangers[f"insert_log/{first['collection_id']}/{partition}/99/100/5"] = b"of a segment that is not named"
    tree = Tree(tree.meta, tree.binlogs | strangers, level_files_only=True)
    names = ["bk_stirred", "bk_by_tenant", "bk_shop.order_heads"]
    plan = made.restore(bench, "early", tree, f"[{', '.join(names)}]")
    said = made.shell.run("plan", plan, "-v").out
    assert "that the backup's meta does not name stay out" in said
    made.shell.run("apply", plan, "--yes")
    made.require_restored(bench, "early", names, with_load=False)


def test_a_restore_that_is_killed_goes_on(made: Made, bench: Bench) -> None:
    def with_text_ids(segment: Plain) -> None:
        segment["group_id"] = str(segment["group_id"])

    plan = made.restore(bench, "killed", made.tree.with_segments(with_text_ids), "[bk_stirred, bk_kinds]")
    running = made.shell.start("apply", plan, "--yes", "--format", "json")
    running.wait_for_event("step_started", "import_segments:default.bk_stirred")
    running.send(signal.SIGKILL)
    made.shell.run("apply", plan, "--resume")
    made.require_restored(bench, "killed", ["bk_stirred", "bk_kinds"])


def test_deletes_in_segments_of_their_own_come_to_a_server_that_knows_no_such_segments(
    made: Made, bench: Bench
) -> None:
    plan = made.restore(bench, "apart", made.tree.with_deletes_apart(), "[bk_stirred, bk_kinds]")
    made.shell.run("apply", plan, "--yes")
    made.require_restored(bench, "apart", ["bk_stirred", "bk_kinds"])


def test_what_is_missing_or_too_new_is_refused_by_name(made: Made, bench: Bench) -> None:
    gone = next(key for key in made.tree.binlogs if key.startswith("insert_log"))
    lacking = Tree(made.tree.meta, {key: value for key, value in made.tree.binlogs.items() if key != gone})
    newer = Tree(made.tree.meta | {"milvus_version": "v2.5.20"}, {})
    cases = {
        "lacking": (lacking, gone),
        "newer": (newer, "made by Milvus v2.5.20, and the target is 2.3.5"),
        "snapshots": (Tree(made.tree.meta | {"format": "snapshot"}, made.tree.binlogs), "of snapshots"),
        "l0": (made.tree.with_segments(lambda s: s.update(is_l0=True)), "holds deletes, and none of its files lies"),
        "v2": (made.tree.with_segments(lambda s: s.update(storage_version=2)), "storage version 2"),
    }
    for name, (tree, said) in cases.items():
        answer = made.shell.run("plan", made.restore(bench, name, tree), code=11)
        assert said in answer.err, name
    plan = made.restore(bench, "cut", made.tree)
    bench.write_object("backups/cut/meta/full_meta.json", json.dumps(made.tree.meta).encode()[:-100])
    answer = made.shell.run("plan", plan, code=11)
    assert "backups/cut/meta/full_meta.json is cut off" in answer.err
    assert "source.backup.name" in answer.err
