"""Runs that are given up: what they created goes, what others did to it stays, and the plan is applied anew."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.model.collection import CollectionRef
from tests.support import sources
from tests.support.cli import SECRET, Shell
from tests.support.portraits import collections_of, connected, portray

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench

NAMES = ("undone_one", "undone_two", "undone_three")
NAMED = "undone_named"
MANY = "undone_many"
PARTITIONS = 9


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Small collections, one with an alias, and one of many partitions; read by all tests, changed by none."""
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(sources.fill_small, bench.a.uri, name, rows=150, deleted=11) for name in (*NAMES, NAMED)]
        jobs.append(pool.submit(fill_many, bench))
        for job in jobs:
            job.result()
    with connected(bench.a.uri) as client:
        client.create_alias(NAMED, "undone_live")
    return bench


def fill_many(bench: Bench) -> None:
    """Partitions of ten rows each: as many import requests."""
    sources.fill_small(bench.a.uri, MANY, rows=10, deleted=0)
    with connected(bench.a.uri) as client:
        for number in range(1, PARTITIONS):
            client.create_partition(MANY, f"p{number}")
            client.insert(MANY, sources.plain_rows(10 * number, 10 * number + 10), partition_name=f"p{number}")


@dataclass(frozen=True, slots=True)
class Try:
    """A plan of its own, with targets of its own."""

    bench: Bench
    shell: Shell
    name: str

    def plan(self, *collections: str, dump: str = "", more: str = "") -> None:
        """Write it."""
        self.shell.write(
            "plan.yaml",
            f"version: 1\nname: {self.name.replace('_', '-')}\nclusters: {self.bench.clusters_file}\n"
            f"source: a\ntarget: b\nstaging: {{root_path: backup, backup_name: {dump or self.name}}}\n"
            f"collections: [{', '.join(collections)}]\n{more}",
        )

    def target(self, source: str) -> str:
        """Where a collection goes."""
        return f"{source}_{self.name}"

    def mapping(self, source: str) -> str:
        """As the plan has it."""
        return f"{{source: {source}, target: {self.target(source)}}}"

    def there(self) -> list[str]:
        """This plan's targets that are there."""
        with connected(self.bench.b.uri) as client:
            return sorted(name for name in client.list_collections() if name.endswith(f"_{self.name}"))

    def own_files(self) -> list[str]:
        """What this tool keeps of leases and claims of this plan's dump."""
        return [key for key in self.bench.bucket_keys(".migrator/") if self.name in key]

    def assert_arrived(self, *names: str) -> None:
        """Compared key by key."""
        with ThreadPoolExecutor() as pool:
            left = list(pool.map(partial(portray, self.bench.a.uri), names))
            right = list(pool.map(partial(portray, self.bench.b.uri), map(self.target, names)))
        for ours, theirs in zip(left, right, strict=True):
            assert theirs.rows == ours.rows
            assert theirs.count == len(ours.rows)
            assert theirs.indexes == ours.indexes


@pytest.fixture
def trial(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Try:
    """A name and a working directory."""
    name = request.node.name.removeprefix("test_")[:40]
    return Try(filled, Shell(tmp_path, filled.environment | {"S3_SECRET_ACCESS_KEY": SECRET}, is_warm=False), name)


def test_finished(trial: Try) -> None:
    """All of it goes but the dump; then the plan is applied anew with another one."""
    shell, bench = trial.shell, trial.bench
    database = "{source: undone_two, target: undone_shop.two}"
    before = collections_of(bench.b.uri)
    trial.plan(trial.mapping(NAMED), database)
    shell.run("apply", "plan.yaml", "--yes")
    with connected(bench.b.uri) as client:
        assert client.describe_alias("undone_live")["collection_name"] == trial.target(NAMED)
    dump = bench.bucket_keys(f"backup/{trial.name}/")
    applied, source = collections_of(bench.b.uri), bench.bucket_keys("files_A/")

    listed = shell.run("rollback", trial.name, code=2)
    assert f"- collection {trial.target(NAMED)}  139 rows, as this run left it" in listed.out
    assert "- alias undone_live" in listed.out
    assert "- database undone_shop" in listed.out
    assert "choose another staging.backup_name" in listed.out
    assert "--yes" in listed.err
    assert collections_of(bench.b.uri) == applied

    answer = shell.run("rollback", trial.name.replace("_", "-"), "--yes")
    assert "is rolled back." in answer.out
    assert collections_of(bench.b.uri) == before
    assert bench.bucket_keys(f"backup/{trial.name}/") == dump
    assert source.items() <= bench.bucket_keys("files_A/").items()  # servers flush what others left growing
    assert trial.own_files() == []
    assert "rolled back" in shell.run("runs").out
    assert "rolled back" in shell.run("status").out
    assert "already" in shell.run("rollback", trial.name).out
    assert "Nothing to delete." in shell.run("clean", "--yes").out
    assert "staging.backup_name" in shell.run("apply", "plan.yaml", "--yes", code=11).err

    trial.plan(trial.mapping(NAMED), database, dump="undone_again")
    shell.run("apply", "plan.yaml", "--yes")
    trial.assert_arrived(NAMED)
    assert collections_of(bench.b.uri) == applied


def test_killed_in_an_import(trial: Try) -> None:
    """Collections and dump go, imports under way are waited for, and the same plan is applied anew."""
    shell, bench = trial.shell, trial.bench
    trial.plan(trial.mapping("undone_one"), trial.mapping("undone_two"))
    running = shell.start("apply", "plan.yaml", "--yes", "--format", "json", "--parallelism", "1")  # seals last
    running.wait_for_event("step_started", "import_segments")
    target = GrpcMilvus(MilvusEndpoint(uri=bench.b.uri, plan_field="target.milvus"))
    somewhere, folder = CollectionRef("default", "any"), f"backup/{trial.name}/"
    ends_at = time.monotonic() + 60
    while not any(job.paths[0].startswith(folder) for job in target.list_import_jobs(somewhere)):
        assert time.monotonic() < ends_at
        time.sleep(0.02)
    target.close()
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL
    assert f"migrator rollback {trial.name.replace('_', '-')}" in shell.run("apply", "plan.yaml", "--yes", code=20).err

    answer = shell.run("rollback", trial.name.replace("_", "-"), "--yes", "--format", "json")
    told: dict[str, Any] = json.loads(answer.out)
    assert told["state"] == "rolled back"
    assert {each["fate"] for each in told["remnants"]} == {"removed"}
    assert trial.there() == []
    assert bench.bucket_keys(folder) == {}
    assert trial.own_files() == []
    assert "no unfinished run" in shell.run("apply", "--resume").out

    shell.run("apply", "plan.yaml", "--yes")
    trial.assert_arrived("undone_one", "undone_two")


def test_changed_by_others(trial: Try) -> None:
    """Rows written, an alias given, one dropped and created anew: left alone, and dropped by force."""
    shell, bench = trial.shell, trial.bench
    written, given, renewed = map(trial.target, NAMES)
    trial.plan(*map(trial.mapping, NAMES))
    shell.run("apply", "plan.yaml", "--yes")
    with connected(bench.b.uri) as client:
        client.insert(written, sources.plain_rows(5000, 5003))
        client.create_alias(given, "undone_theirs")
        client.drop_collection(renewed)
    sources.fill_small(bench.b.uri, renewed, rows=20, deleted=0)
    before = collections_of(bench.b.uri)

    answer = shell.run("rollback", trial.name.replace("_", "-"), "--yes", code=20)
    assert "somebody wrote 3 rows to it beside the 139 of this run" in answer.out
    assert "somebody gave it an alias, undone_theirs" in answer.out
    assert "somebody dropped it and created another one of this name, which holds 20 rows" in answer.out
    assert collections_of(bench.b.uri) == before
    assert " finished " in shell.run("runs").out  # nothing was begun

    answer = shell.run("rollback", trial.name.replace("_", "-"), "--yes", "--force")
    assert "is rolled back." in answer.out
    assert trial.there() == []


def test_unlocked(trial: Try) -> None:
    """A lease that is broken stops its living holder before its next import; what is left is rolled back."""
    shell = trial.shell
    trial.plan(trial.mapping(MANY), more="options: {import: {max_jobs: 1}}\n")
    assert "Nobody holds a lease" in shell.run("unlock", "plan.yaml").out
    running = shell.start("apply", "plan.yaml", "--yes", "--format", "json", "--parallelism", "1")  # seals last
    running.wait_for_event("step_started", "import_segments")
    assert "being applied by" in shell.run("clean", "plan.yaml", "--yes", code=21).err

    answer = shell.run("unlock", "plan.yaml", "--yes")
    assert f"is in the hands of process {running.process.pid}" in answer.out
    assert f"the target collection {trial.target(MANY)}" in answer.out
    assert f"(process {running.process.pid} on " in answer.out
    assert "its heartbeat moves" in answer.out
    stopped = running.finish()
    assert stopped.code == 21
    assert "somebody broke it" in stopped.out

    left = shell.run("clean").out
    assert "left alone" in left
    assert "Nothing to delete." in left
    shell.run("rollback", trial.name, "--yes")
    assert trial.there() == []
    assert trial.bench.bucket_keys(f"backup/{trial.name}/") == {}
