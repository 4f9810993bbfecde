"""Runs that are stopped, killed, or fail in part, and go on: every row exactly once."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.model.collection import CollectionRef
from tests.support import sources
from tests.support.cli import SECRET, Running, Shell
from tests.support.portraits import connected, portray

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bench import Bench

NAMES = ("halted_one", "halted_two")


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Two collections at the source, each with deletes after the flush; read by all tests, changed by none."""
    with ThreadPoolExecutor() as pool:
        fill = partial(sources.fill_small, bench.a.uri, rows=200, shards=2, deleted=11)
        for job in [pool.submit(fill, name) for name in NAMES]:
            job.result()
    return bench


@dataclass(frozen=True, slots=True)
class Move:
    """A plan of its own, with targets of its own."""

    bench: Bench
    shell: Shell
    name: str

    def target(self, source: str) -> str:
        """Where a collection goes."""
        return f"{source}_{self.name}"

    def start(self, *arguments: str) -> Running:
        """Apply the plan, told as JSON lines."""
        return self.shell.start("apply", "plan.yaml", *arguments, "--format", "json")

    def assert_all_arrived(self, names: tuple[str, ...] = NAMES) -> None:
        """Counted and compared key by key: nothing lost, nothing twice."""
        with ThreadPoolExecutor() as pool:
            left = list(pool.map(partial(portray, self.bench.a.uri), names))
            right = list(pool.map(partial(portray, self.bench.b.uri), map(self.target, names)))
        assert [portrait.count for portrait in right] == [189] * len(names)
        for ours, theirs in zip(left, right, strict=True):
            assert theirs.rows == ours.rows
            assert theirs.indexes == ours.indexes
            assert theirs.is_loaded

    def prefix(self, source: str) -> str:
        """Where the dump keeps the collection's insert logs."""
        with connected(self.bench.a.uri) as client:
            collection_id = client.describe_collection(source)["collection_id"]
        return f"backup/{self.name}/binlogs/insert_log/{collection_id}"


@pytest.fixture
def move(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Move:
    """A plan that moves both, not applied yet."""
    name = request.node.name.removeprefix("test_").partition("[")[0][:40]
    shell = Shell(tmp_path, filled.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write(
        "plan.yaml",
        f"version: 1\nname: {name.replace('_', '-')}\nclusters: {filled.clusters_file}\nsource: a\ntarget: b\n"
        f"staging: {{root_path: backup, backup_name: {name}}}\n"
        f'collections: [{{source: "halted_*", target: "{{{{ collection }}}}_{name}"}}]\n',
    )
    return Move(filled, shell, name)


def wait_until(happens: Callable[[], bool], within_s: float = 60) -> None:
    """Look until it has happened."""
    ends_at = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.02)


def wait_for_import(move: Move) -> None:
    """Wait until the target knows of an import request of this move, however far it is."""
    target = GrpcMilvus(MilvusEndpoint(uri=move.bench.b.uri, plan_field="target.milvus"))
    any_name = CollectionRef("default", move.target("halted_one"))
    folder = f"backup/{move.name}/"
    wait_until(lambda: any(job.paths[0].startswith(folder) for job in target.list_import_jobs(any_name)))
    target.close()


def test_killed_at_every_stage(move: Move) -> None:
    """Killed in copying, right after an import request, in indexing; resumed with the plan and without."""
    running = move.start("--yes")
    running.wait_for_event("step_started", "copy_segments")
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL

    running = move.start("--resume")
    running.wait_for_event("step_started", "import_segments")
    wait_for_import(move)
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL

    running = move.shell.start("apply", "--resume", "--format", "json")
    running.wait_for_event("step_started", "create_index")
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL

    answer = move.shell.run("apply", "--resume")
    assert "is done" in answer.out
    move.assert_all_arrived()
    assert "Nothing to do" in move.shell.run("apply", "plan.yaml", "--yes").out


def test_killed_again_and_again(move: Move) -> None:
    """At arbitrary moments, until it is through; another terminal is told who is at it, and who was."""
    running = move.start("--yes")
    running.wait_for_event("step_started", "dump_meta")
    kills = 0
    running.process.send_signal(signal.SIGSTOP)  # else it may be through before anybody has looked
    at_work = json.loads(move.shell.run("status", "--format", "json").out)
    assert (at_work["state"], at_work["attempt"]["pid"]) == ("running", running.process.pid)
    assert "is alive, heard of" in move.shell.run("status").out
    running.process.send_signal(signal.SIGCONT)
    for pause_s in (0.0, 0.5, 1.0, 1.5, 2.0):
        time.sleep(pause_s)
        if running.process.poll() is not None:
            break
        running.send(signal.SIGKILL)
        kills += 1
        said = move.shell.run("status").out
        assert f"process {running.process.pid} on " in said
        assert "is gone, heard of" in said
        assert said.endswith("Go on with it: migrator apply --resume\n")
        running = move.start("--resume")
        running.wait_for_event("run_started")
    assert running.finish().code == 0
    assert kills >= 2
    move.assert_all_arrived()
    assert json.loads(move.shell.run("status", "--format", "json").out)["attempt"] is None
    (log,) = move.shell.folder.glob(".migrator/runs/*/run.log")
    assert "import request sent: import_segments:" in log.read_text(encoding="utf-8")
    assert SECRET not in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o077 == 0


def test_interrupted_and_resumed(move: Move) -> None:
    """Ctrl-C in copying, then in importing: said with the way on, and done in the end."""
    running = move.shell.start("apply", "plan.yaml", "--yes")
    running.wait_for(lambda line: "dump_meta:" in line)
    answer = running.send(signal.SIGINT)
    assert answer.code == 130
    assert "migrator apply --resume" in answer.out
    assert "was stopped" in answer.out

    running = move.start("--resume")
    running.wait_for_event("step_started", "import_segments")
    wait_for_import(move)
    answer = running.send(signal.SIGINT)
    assert answer.code == 130
    assert answer.events[-1]["exit_code"] == 130

    unfinished = move.shell.run("apply", "plan.yaml", "--yes", code=20)
    assert "plan.yaml --resume" in unfinished.err
    assert "give it up" in unfinished.err
    assert "unfinished" in move.shell.run("plan", "plan.yaml", code=20).err
    files, objects = move.shell.files(), move.bench.bucket_keys(f"backup/{move.name}")
    found = move.shell.run("apply", "--dry-run", "plan.yaml")
    assert "import_segments" in found.out
    assert "unfinished" in move.shell.run("status").out
    assert move.bench.bucket_keys(f"backup/{move.name}") == objects
    assert {k: v for k, v in move.shell.files().items() if not k.endswith("-shm")} == {
        k: v for k, v in files.items() if not k.endswith("-shm")
    }

    plan = (move.shell.folder / "plan.yaml").read_text(encoding="utf-8")
    move.shell.write("plan.yaml", plan + "# edited since\n")
    assert "plan.yaml" in move.shell.run("apply", "plan.yaml", "--resume", code=12).err
    assert "plan.yaml" in move.shell.run("apply", "--resume", code=12).err
    move.shell.write("plan.yaml", plan)

    answer = move.shell.run("apply", "plan.yaml", "--resume")
    assert "done" in answer.out
    move.assert_all_arrived()
    assert "no unfinished run" in move.shell.run("apply", "--resume").out


def test_two_at_once(move: Move, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Others are refused, wherever their state lies, and the first one goes on."""
    first = move.start("--yes")
    first.wait_for_event("step_started", "flush")
    elsewhere = Shell(tmp_path_factory.mktemp("elsewhere"), move.shell.environment)
    plan = (move.shell.folder / "plan.yaml").read_text(encoding="utf-8")
    elsewhere.write("plan.yaml", plan.replace("name: two-at", "name: other-two").replace("two_at_once}", "elsewhere}"))
    others = [
        move.shell.start("apply", "--resume", "--lock-timeout", "1s"),
        move.shell.start("apply", "plan.yaml", "--yes", "--lock-timeout", "1s"),
        elsewhere.start("apply", "plan.yaml", "--yes", "--lock-timeout", "1s"),
    ]
    second, third, fourth = [other.finish() for other in others]
    assert second.code == third.code == 21
    assert "being applied by process" in second.err
    assert "being applied by process" in third.err
    assert fourth.code in {11, 21}
    assert first.finish().code == 0
    move.assert_all_arrived()


def test_two_begun_at_once(move: Move) -> None:
    """One of two begins; the other waits, finds all done, and leaves nothing behind."""
    both = [move.start("--yes", "--only", "halted_one") for _ in range(2)]
    codes = sorted(running.finish().code for running in both)
    assert codes[0] == 0
    assert codes[1] in {0, 21}
    move.assert_all_arrived(("halted_one",))
    assert "= halted_one" in move.shell.run("plan", "plan.yaml").out
    assert len(json.loads(move.shell.run("runs", "--format", "json").out)) == 1


# -- in part ----------------------------------------------------------------------------------------------------------


def test_a_source_object_that_is_gone(move: Move) -> None:
    """One collection cannot be read: the other arrives, and it does too once that is mended."""
    with connected(move.bench.a.uri) as client:
        collection_id = client.describe_collection("halted_two")["collection_id"]
    key = min(move.bench.bucket_keys(f"files_A/insert_log/{collection_id}"))
    content = move.bench.read_object(key)
    move.bench.delete_object(key)
    try:
        answer = move.shell.run("apply", "plan.yaml", "--yes", code=20)
    finally:
        move.bench.write_object(key, content)
    assert f"halted_one → {move.target('halted_one')}  189 rows  done" in answer.out
    assert f"halted_two → {move.target('halted_two')}  failed" in answer.out
    assert "migrator apply --resume" in answer.out
    assert "failed" in move.shell.run("runs").out

    move.shell.run("apply", "--resume")
    move.assert_all_arrived()


def test_a_dump_that_somebody_changed(move: Move) -> None:
    """What lies in the dump is looked at right before it is imported: one gone is copied again, one too many stops."""
    running = move.start("--yes", "--parallelism", "1")
    for name in NAMES:  # the larger one comes first
        running.wait_for_event("step_finished", f"copy_segments:default.{name}")
    running.send(signal.SIGKILL)
    lost = min(move.bench.bucket_keys(move.prefix("halted_one")))
    content = move.bench.read_object(lost)
    move.bench.delete_object(lost)
    folder, _, log_id = min(move.bench.bucket_keys(move.prefix("halted_two"))).rpartition("/")
    stranger = f"{folder}/{int(log_id) + 1}"
    move.bench.write_object(stranger, content)

    answer = move.shell.run("apply", "--resume", code=20)
    assert stranger in answer.out
    assert move.bench.read_object(lost) == content
    assert f"halted_one → {move.target('halted_one')}  189 rows  done" in answer.out
    with connected(move.bench.b.uri) as client:
        assert not any(
            client.get_collection_stats(move.target(name))["row_count"]
            for name in ("halted_two",)
            if client.has_collection(move.target(name))
        )

    move.bench.delete_object(stranger)
    move.shell.run("apply", "--resume")
    move.assert_all_arrived()


def test_a_target_that_somebody_else_made(move: Move) -> None:
    """A collection that appeared since it was planned is left alone."""
    running = move.start("--yes")
    running.wait_for_event("step_started", "dump_meta")
    running.send(signal.SIGKILL)
    target = move.target("halted_two")
    with connected(move.bench.b.uri) as client:
        client.create_collection(target, dimension=4)

    answer = move.shell.start("apply", "--resume").finish()
    assert answer.code in {20, 22}
    assert f"halted_one → {move.target('halted_one')}  189 rows  done" in answer.out
    assert f"halted_two → {target}  failed" in answer.out
    with connected(move.bench.b.uri) as client:
        assert len(client.describe_collection(target)["fields"]) == 2
        client.drop_collection(target)

    move.shell.run("apply", "--resume")
    move.assert_all_arrived()
