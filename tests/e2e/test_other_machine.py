"""`state: staging`: a run whose host is gone goes on from another machine, with nothing but the plan file."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from tests.e2e.test_interruptions import Move, wait_for_import
from tests.support import sources
from tests.support.cli import SECRET, Shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench

NAMES = ("moved_one", "moved_two")


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Two collections at the source, each with deletes after the flush; read by all tests, changed by none."""
    for name in NAMES:
        sources.fill_small(bench.a.uri, name, rows=200, shards=2, deleted=11)
    return bench


@pytest.fixture
def moves(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Move, Move]:
    """The same plan on two machines: each with a state directory of its own."""
    name = request.node.name.removeprefix("test_")[:40]
    made = []
    for machine in ("one", "two"):
        folder = tmp_path / machine
        folder.mkdir()
        shell = Shell(folder, filled.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
        shell.write(
            "plan.yaml",
            f"version: 1\nname: {name.replace('_', '-')}\nclusters: {filled.clusters_file}\nsource: a\ntarget: b\n"
            f"staging: {{root_path: backup, backup_name: {name}}}\noptions: {{state: staging}}\n"
            f'collections: [{{source: "moved_*", target: "{{{{ collection }}}}_{name}"}}]\n',
        )
        made.append(Move(filled, shell, name))
    return made[0], made[1]


def test_a_host_that_is_gone(moves: tuple[Move, Move]) -> None:
    """Killed in mid-import with its disk; the other machine sees the run, goes on, and knows it as its own after."""
    one, two = moves
    running = one.start("--yes")
    running.wait_for_event("step_started", "import_segments")
    wait_for_import(one)
    for name in NAMES:
        running.wait_for_event("step_finished", f"copy_segments:default.{name}")
    running.send(signal.SIGKILL)
    shutil.rmtree(one.shell.folder / ".migrator")

    assert "is unfinished" in two.shell.run("plan", "plan.yaml", code=20).err
    assert "never started" in two.shell.run("apply", "plan.yaml", "--dry-run").out
    assert not (two.shell.folder / ".migrator").exists()
    assert "is unfinished" in two.shell.run("apply", "plan.yaml", "--yes", code=20).err
    answer = two.shell.run("apply", "plan.yaml", "--resume")
    assert "is done" in answer.out
    two.assert_all_arrived(NAMES)
    copied = [step for step in answer.out.splitlines() if "✓ copy_segments" in step]
    assert not copied, "what the first machine finished is not done again"
    assert two.shell.run("plan", "plan.yaml").out.count("migrated and verified before") == len(NAMES)
    assert one.shell.run("plan", "plan.yaml").out.count("migrated and verified before") == len(NAMES)


def test_the_first_host_comes_back(moves: tuple[Move, Move]) -> None:
    """While the other machine is at it the first is refused; afterwards it finds all done."""
    one, two = moves
    running = one.start("--yes")
    running.wait_for_event("step_started", "copy_segments")
    running.send(signal.SIGKILL)
    other = two.start("--resume")
    other.wait_for_event("step_started", "import_segments")
    other.process.send_signal(signal.SIGSTOP)  # or it may be done before the first one has asked
    assert "is held by run" in one.shell.run("apply", "--resume", "--lock-timeout", "1s", code=21).err
    other.process.send_signal(signal.SIGCONT)
    assert other.finish().code == 0
    assert "Nothing to do" in one.shell.run("apply", "plan.yaml", "--resume").out
    two.assert_all_arrived(NAMES)


def test_a_pod_that_is_evicted(moves: tuple[Move, Move], tmp_path: Path) -> None:
    """What the manifests call: a pod that is told to go leaves its run to the next, which has but the mounted files."""
    one, two = moves
    one.shell.run("init", "plan.yaml", "--kubernetes", "--dask-workers", "0")
    manifest = (one.shell.folder / "kubernetes" / "run.yaml").read_text(encoding="utf-8")
    config, job = YAML(typ="safe").load_all(manifest)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    for name, text in config["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [argument.replace("/etc/migrator", str(tmp_path)) for argument in container["args"]]
    first = one.shell.start(*command)
    first.wait_for_event("step_started", "import_segments")
    assert first.send(signal.SIGTERM).code == 130
    two.shell.run(*command)
    two.assert_all_arrived(NAMES)
