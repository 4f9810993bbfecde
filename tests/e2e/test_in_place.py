"""`transfer.mode: in_place` on real servers: the target reads the source's own folders, and every row is there once."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.model.collection import CollectionRef
from tests.support import sources
from tests.support.cli import SECRET, Shell
from tests.support.double import start_double
from tests.support.portraits import collections_of, connected, portray

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench, StoredObject

NAMES = ("stirred", "by_tenant")
"""Deletes and partitions; a partition key."""
# First of all, as what other tests' compactions leave lies beside the live segments of every collection.
pytestmark = pytest.mark.usefixtures("seen")
KEYS = "{type: static, access_key_id: {env: KEY}, secret_access_key: {env: SECRET}}"


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Read by all tests; one has a collection of its own compacted."""
    fills = [
        partial(sources.fill_stirred, name="stirred"),
        partial(sources.fill_by_tenant, name="by_tenant"),
        partial(sources.fill_tiny_segments, name="moved"),
    ]
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(fill, bench.a.uri) for fill in fills]:
            job.result()
    return bench


@dataclass(frozen=True, slots=True)
class Move:
    """A plan of its own, with targets of its own."""

    bench: Bench
    shell: Shell
    name: str
    names: tuple[str, ...]

    def assert_all_arrived(self, uri: str | None = None) -> None:
        """Row by row."""
        for name in self.names:
            left, right = portray(self.bench.a.uri, name), portray(uri or self.bench.b.uri, f"{name}_{self.name}")
            assert right.rows == left.rows, name
            assert right.count == left.count, name

    def import_paths(self) -> list[str]:
        """What was asked of the target, which tells all that it ever imported."""
        target = GrpcMilvus(MilvusEndpoint(uri=self.bench.b.uri, plan_field="target.milvus"))
        refs = [CollectionRef("default", f"{name}_{self.name}") for name in self.names]
        paths = {path for ref in refs for job in target.list_import_jobs(ref) for path in job.paths}
        target.close()
        return [path for path in paths if any(f"/{number}/" in path for number in self._source_ids())]

    def _source_ids(self) -> list[int]:
        with connected(self.bench.a.uri) as source:
            return [source.describe_collection(name)["collection_id"] for name in self.names]


def a_move(bench: Bench, folder: Path, name: str, names: tuple[str, ...] = NAMES, *, target: str = "b") -> Move:
    environment = {
        **bench.environment,
        "S3_SECRET_ACCESS_KEY": SECRET,
        "KEY": bench.state.access_key_id,
        "SECRET": bench.state.secret_access_key,
    }
    shell = Shell(folder, environment)
    collections = ", ".join(f"{{source: {each}, target: {each}_{name}}}" for each in names)
    shell.write(
        "plan.yaml",
        f"version: 1\nname: {name.replace('_', '-')}\nclusters: {bench.clusters_file}\nsource: a\ntarget: {target}\n"
        f"staging: {{root_path: backup, backup_name: {name}}}\ncollections: [{collections}]\n"
        f"options: {{transfer: {{mode: in_place}}, verify: full}}\n",
    )
    return Move(bench, shell, name, names)


def files_of_source(bench: Bench) -> dict[str, StoredObject]:
    keys = bench.bucket_keys(f"{bench.a.root_path}/")
    return {key: value for key, value in keys.items() if "/insert_log/" in key or "/delta_log/" in key}


@dataclass(frozen=True, slots=True)
class Seen:
    """A migration of partitions of one segment each: by the partition or by the segment, they are read in place."""

    move: Move
    planned: str
    paths: list[str]
    before: dict[str, StoredObject]


@pytest.fixture(scope="module")
def seen(filled: Bench, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    move = a_move(filled, tmp_path_factory.mktemp("read"), "read", ("by_tenant",))
    planned = move.shell.run("plan", "plan.yaml").out
    move.shell.run("apply", "plan.yaml", "--yes")
    before = files_of_source(filled)
    move.assert_all_arrived()
    return Seen(move, planned, move.import_paths(), before)


def test_the_target_reads_the_sources_own_files(filled: Bench, seen: Seen) -> None:
    assert "read in place, not copied" in seen.planned
    assert {path.split("/")[0] for path in seen.paths} == {filled.a.root_path}, seen.paths
    assert not filled.bucket_keys("backup/read/binlogs/")


def test_its_description_is_no_backup_and_a_rollback_leaves_the_source_alone(filled: Bench, seen: Seen) -> None:
    shell = seen.move.shell
    listed = json.loads(shell.run("backup", "list", "plan.yaml", "--format", "json").out)["backups"]
    (own,) = [each for each in listed if each["name"] == "read"]
    assert own["read_in_place"]
    assert "nothing can be restored" in own["problem"]
    shell.run("verify", "plan.yaml")
    assert "othing to do" in shell.run("plan", "plan.yaml").out
    shell.run("rollback", "--yes", json.loads(shell.run("runs", "--format", "json").out)[0]["run_id"])
    assert seen.before.items() <= files_of_source(filled).items()
    assert not [name for name in collections_of(filled.b.uri)["default"] if name.endswith("_read")]
    assert not filled.bucket_keys("backup/read/")


def test_killed_and_resumed_in_the_midst(filled: Bench, tmp_path: Path) -> None:
    move = a_move(filled, tmp_path, "killed")
    running = move.shell.start("apply", "plan.yaml", "--yes", "--format", "json")
    running.wait_for_event("step_started", "import_segments")
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL
    running = move.shell.start("apply", "--resume", "--format", "json")
    running.wait_for_event("step_finished", "import_segments")
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL
    move.shell.run("apply", "--resume")
    move.assert_all_arrived()


@pytest.mark.parametrize("version", ["2.4.5", pytest.param("2.6.12", marks=pytest.mark.exhaustive), "3.0.0"])
def test_newer_targets_take_many_folders_at_once(filled: Bench, tmp_path: Path, version: str) -> None:
    state = filled.state
    with start_double(
        version,
        endpoint=state.s3_endpoint,
        bucket=state.bucket,
        root_path=f"files_{version}",
        access_key=state.access_key_id,
        secret_key=state.secret_access_key,
        flush_interval_s=0,
    ) as double:
        storage = (
            f'{{provider: minio, endpoint: "{state.s3_endpoint}", bucket: {state.bucket}, '
            f"root_path: {double.root_path}, credentials: {KEYS}}}"
        )
        target = f'{{milvus: {{uri: "{double.uri}"}}, storage: {storage}}}'
        move = a_move(filled, tmp_path, f"n{version.replace('.', '')}", target=target)
        move.shell.run("apply", "plan.yaml", "--yes")
        move.assert_all_arrived(double.uri)
        assert not filled.bucket_keys(f"backup/{move.name}/binlogs/")


def test_files_that_move_during_the_import(filled: Bench, tmp_path: Path) -> None:
    """A compaction comes between the last look and the request: whatever it meets, no row is there twice."""
    move = a_move(filled, tmp_path, "moved", ("moved",))
    variables = {
        "COMPACT_BEFORE": "start_import",
        "COMPACT_AT": filled.a.uri,
        "COMPACT_WHAT": "moved",
        "COMPACT_LOG": str(tmp_path / "compacted"),
    }
    running = move.shell.start("apply", "plan.yaml", "--yes", program="tests.support.compacting", **variables)
    answer = running.finish()
    assert answer.code == 0, answer.text
    assert "moved 0" not in (tmp_path / "compacted").read_text(encoding="utf-8")
    move.assert_all_arrived()
