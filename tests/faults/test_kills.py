"""Runs that are killed or stopped at every point and at any moment: every row arrives exactly once."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from migrator.steps.registry import STEP_KINDS
from tests.support import sources
from tests.support.arrivals import Pair, assert_arrived, assert_dumped
from tests.support.cli import SECRET, Answer, Running, Shell
from tests.support.deaths import LEASE, RUN, read_struck
from tests.support.mortality import WRITERS
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bench import Bench
    from tests.support.mortality import Point

EXHAUSTIVE = pytest.mark.exhaustive
BRIEF_SETTLE_S = "8"
"""How long a request without a reply is looked for, where the servers are idle and register it at once."""
NOT_IN_THE_PLAN: dict[str, str] = {
    "clean_staging": "tests/contract/test_steps_of_words.py kills in it",
    "commit_imports": "tests/faults/test_kills_doubles.py kills in it",
    "create_snapshot": "tests/contract/test_steps_of_snapshots.py kills in it",
    "drop_forwarded": "tests/faults/test_hops.py kills in it",
    "drop_snapshot": "tests/contract/test_steps_of_snapshots.py kills in it",
    "forward_segments": "tests/faults/test_hops.py kills in it",
    "import_deletes": "tests/faults/test_kills_doubles.py kills in it",
    "restore_rbac": "tests/contract/test_steps.py kills in it",
    "restore_snapshot": "tests/contract/test_steps_of_snapshots.py kills in it",
    "resume_functions": "tests/contract/test_steps_of_deletes.py kills in it",
    "retire_predecessor": "tests/e2e/test_replace.py kills in it",
}
"""Kinds of steps that the plan of this file does not lead to, with the reason."""
OF_A_ROLLBACK = frozenset({"drop_alias", "drop_collection", "drop_database"})
"""Writers that no step calls: tests/unit/running/test_rollback.py kills at them."""
OF_A_REPLACEMENT = frozenset({"rename_collection", "alter_alias"})
OF_ACCESS = frozenset({"create_role", "drop_role", "grant", "revoke", "add_to_role", "remove_from_role"})
"""Writers of `restore_rbac` and its rollback."""
OF_THE_SHELF = frozenset({"drop_empty_folders"})
"""Writers of `backup delete`."""
ACROSS_BUCKETS = frozenset({"copy_from"})
"""Of a source in another bucket: tests/contract/test_steps_of_hops.py kills at it."""
OF_NEWER_MILVUS = frozenset({"abort_import", "add_field", "commit_import", "drop_property"})
"""Writers that nothing asks a 2.3.5 for: tests/contract/test_steps_of_deletes.py kills at them."""
OF_SNAPSHOTS = frozenset({"create_snapshot", "drop_snapshot", "restore_snapshot", "restore_elsewhere"})
"""Writers of 3.0: tests/contract/test_steps_of_snapshots.py kills at them."""
NOT_CALLED = (
    OF_NEWER_MILVUS | OF_SNAPSHOTS | ACROSS_BUCKETS | OF_A_ROLLBACK | OF_A_REPLACEMENT | OF_ACCESS | OF_THE_SHELF
)
SEED = int(os.environ.get("KILLS_SEED", "20260101"))
ALL = (
    Pair("mortal_stirred", "mortal_stirred"),
    Pair("mortal_hollow", "mortal_hollow"),
    Pair("mortal_unloaded", "mortal_unloaded"),
    Pair("heads", "heads_bak", "mortal_shop", "mortal_shop"),
)
SMALL = ("mortal_one", "mortal_two")


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Collections at the source, read by all tests and changed by none."""
    uri = bench.a.uri
    with connected(uri) as client:
        client.create_database("mortal_shop")
    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(sources.fill_stirred, uri, "mortal_stirred"),
            pool.submit(sources.fill_empty, uri, "mortal_hollow"),
            pool.submit(sources.fill_unloaded, uri, "mortal_unloaded", indexed=True),
            pool.submit(sources.fill_small, uri, "heads", rows=40, database="mortal_shop", deleted=3),
            *(pool.submit(sources.fill_small, uri, name, rows=200, shards=2, deleted=11) for name in SMALL),
        ]
        for job in jobs:
            job.result()
    return bench


@dataclass(frozen=True, slots=True)
class Move:
    """A plan of its own, with targets of its own."""

    bench: Bench
    shell: Shell
    name: str
    pairs: tuple[Pair, ...]
    settle_s: str | None = BRIEF_SETTLE_S

    @classmethod
    def make(
        cls, bench: Bench, folder: Path, name: str, pairs: tuple[Pair, ...], options: str = "", *, suffix: str = ""
    ) -> Move:
        """Write the plan file; targets end with its name, or with `suffix`."""
        suffix = suffix or name
        moved = tuple(
            Pair(
                pair.source,
                f"{pair.target}_{suffix}",
                pair.database,
                pair.target_database if pair.target_database == "default" else f"{pair.target_database}_{suffix}",
            )
            for pair in pairs
        )
        shell = Shell(folder, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
        lines = "".join(
            f"  - {{source: {pair.database}.{pair.source}, target: {pair.target_database}.{pair.target}}}\n"
            for pair in moved
        )
        shell.write(
            f"{name}.yaml",
            f"version: 1\nname: {name.replace('_', '-')}\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\n"
            f"staging: {{root_path: backup, backup_name: {name}}}\n{options}collections:\n{lines}",
        )
        return cls(bench, shell, name, moved)

    def start(self, *arguments: str) -> Running:
        """Apply the plan, or go on with it, told as JSON lines."""
        variables = {} if self.settle_s is None else {"DEATHS_SETTLE_S": self.settle_s}
        return self.shell.start(
            *("apply", f"{self.name}.yaml", "--resume", *arguments, "--format", "json"),
            program="tests.support.deaths",
            **variables,
        )

    def assert_done(self) -> None:
        """Everything arrived, and the dump is whole."""
        assert "Nothing to do" in self.shell.run("apply", f"{self.name}.yaml", "--yes").out
        assert_arrived(self.bench, self.pairs)
        assert_dumped(self.bench, self.name, self.pairs)


# -- at every point ---------------------------------------------------------------------------------------------------


def die_everywhere(move: Move, way: Way) -> list[Point]:
    """Kill the run once at every point that nobody died at before, and let it end; return all points struck so far."""
    struck = move.shell.folder / "struck.jsonl"
    variables = {"DEATHS_FILE": str(struck), "DEATHS_JOURNAL": way.journal}
    variables |= {} if way.settle_s is None else {"DEATHS_SETTLE_S": way.settle_s}
    command = ("apply", f"{move.name}.yaml", "--resume", "--yes", *way.arguments)
    for _ in range(5):
        answer = move.shell.start(*command, program="tests.support.deaths", **variables).finish(within_s=1800)
        if not revive(move.bench):
            break
    assert answer.code == 0, answer.text
    return read_struck(struck)


def revive(bench: Bench) -> bool:
    """Start the servers that ended by themselves; whether there were any.

    Milvus 2.3.5 dies of a nil pointer when a client that waits for `ListImportTasks` is killed (proxy/impl.go:4083).
    """
    ended = [status.name for status in bench.lab.status() if status.state == "stopped"]
    for name in ended:
        bench.lab.start(name)
    return bool(ended)


def assert_everything_struck(points: list[Point], way: Way) -> None:
    """Every kind of step, the leases and the run; every writer of the ports, before and after."""
    assert len(points) == len(set(points))
    assert {point.kind for point in points} == {*STEP_KINDS, LEASE, RUN} - NOT_IN_THE_PLAN.keys()
    for moment in ("before", "after"):
        struck = [point for point in points if point.moment == moment]
        assert {point.what.partition(" ")[0] for point in struck} >= WRITERS - way.unused - NOT_CALLED
        for kind in STEP_KINDS.keys() - NOT_IN_THE_PLAN.keys() if moment in way.journal else ():
            assert {"started", "finished"} <= {point.what for point in struck if point.kind == kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to go through a migration; writers that it does without."""

    name: str
    arguments: tuple[str, ...] = ()
    options: str = ""
    settle_s: str | None = None
    unused: frozenset[str] = frozenset()
    journal: str = "before and after"
    """When to die around transactions of the journal."""


WAYS = (
    Way(name="sprint", settle_s=BRIEF_SETTLE_S, unused=frozenset({"sweep"}), journal="after"),
    Way(name="marathon", settle_s=BRIEF_SETTLE_S, unused=frozenset({"sweep"})),
    Way(
        name="procession",
        arguments=("--parallelism", "1"),
        options="options: {transfer: {mode: stream, concurrency: 1}}\n",
        unused=frozenset({"copy_inside"}),
    ),
)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(WAYS[0], id="after every write"),
        pytest.param(WAYS[1], id="side by side", marks=EXHAUSTIVE),
        pytest.param(WAYS[2], id="one by one", marks=EXHAUSTIVE),
    ],
)
def test_killed_once_at_every_point(way: Way, filled: Bench, tmp_path: Path) -> None:
    """One migration of all kinds of steps; what its last death leaves no time for is struck at small ones' ends."""
    move = Move.make(filled, tmp_path, way.name, ALL, way.options)
    points = die_everywhere(move, way)
    move.assert_done()
    before: list[Point] = []
    while points != before:
        name = f"{way.name}_{len(points)}"
        move = Move.make(filled, tmp_path, name, (Pair("mortal_hollow", "mortal_hollow"),), way.options)
        before, points = points, die_everywhere(move, way)
    assert_everything_struck(points, way)


# -- at any moment ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "server_kills", "settle_s"),
    [
        pytest.param(4, ("milvus_B", "milvus_A"), BRIEF_SETTLE_S, id=f"4 by seed {SEED}"),
        pytest.param(40, ("milvus_B", "milvus_A") * 3, None, id=f"40 by seed {SEED}", marks=EXHAUSTIVE),
    ],
)
def test_killed_at_any_moment(
    kills: int, server_kills: tuple[str, ...], settle_s: str | None, filled: Bench, tmp_path: Path
) -> None:
    """With both servers killed under it too; `KILLS_SEED` chooses the moments."""
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    pairs = (*(Pair(name, name) for name in SMALL), *ALL[2:])
    strikes = [""] * (kills - len(server_kills)) + list(server_kills)
    chance.shuffle(strikes)
    number = 0
    while strikes:
        number += 1
        move = replace(Move.make(filled, tmp_path, f"random_{kills}_{number}", pairs), settle_s=settle_s)
        while strikes and survives(move, chance, strikes[-1]) is False:
            strikes.pop()
        answer = move.start("--yes").finish()
        assert answer.code == 0, answer.text
        move.assert_done()


def survives(move: Move, chance: random.Random, server: str) -> bool:
    """Let an attempt run for a while and kill it, after the server if one is named; whether it ended before that."""
    running = move.start("--yes")
    time.sleep(chance.uniform(1.2, 4.0))
    if running.process.poll() is not None:
        assert running.finish().code == 0
        return True
    if server:
        move.bench.lab.kill(server)
        time.sleep(chance.uniform(0.0, 1.0))
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL
    time.sleep(0.5)  # in which a server may die of that
    revive(move.bench)
    return False


# -- stopped by a person ----------------------------------------------------------------------------------------------


@pytest.fixture
def move(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Move:
    """A plan of its own for a small collection, not applied yet."""
    name = request.node.name.removeprefix("test_stopped_").partition("[")[0]
    return Move.make(filled, tmp_path, name, (Pair("mortal_one", "mortal_one"),))


@contextmanager
def hanging_store(bench: Bench) -> Iterator[None]:
    """The S3 server is there and does not answer; a Milvus that stood still for so long would end itself."""
    bench.lab.kill("moto", signal.SIGSTOP)
    try:
        yield
    finally:
        bench.lab.kill("moto", signal.SIGCONT)


def send_and_time(running: Running, number: signal.Signals) -> tuple[Answer, float]:
    """Its answer to a signal, and how long that took."""
    began = time.monotonic()
    return running.send(number), time.monotonic() - began


def test_stopped_again_and_again(move: Move) -> None:
    """Once it parks, and so it does between two tries of a target that is down; twice it ends, whatever hangs."""
    running = move.shell.start("apply", f"{move.name}.yaml", "--yes")
    running.wait_for(lambda line: "create_collection:" in line)
    parked, took_s = send_and_time(running, signal.SIGTERM)
    assert parked.code == 130
    assert "migrator apply --resume" in parked.out
    assert took_s < 20

    running = move.start()
    running.wait_for_event("step_started", "import_segments")
    move.bench.lab.kill("milvus_B")
    try:
        running.wait_for_event("step_waits")
        parked, took_s = send_and_time(running, signal.SIGTERM)
    finally:
        move.bench.lab.start("milvus_B")
    assert parked.code == parked.events[-1]["exit_code"] == 130
    assert took_s < 20

    running = move.start()
    running.wait_for_event("step_started", "import_segments")
    with hanging_store(move.bench):
        time.sleep(1.0)
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert running.process.poll() is None
        stopped, took_s = send_and_time(running, signal.SIGTERM)
    assert stopped.code == 130
    assert "press again to stop at once" in stopped.err
    assert took_s < 20

    assert move.start().finish().code == 0
    move.assert_done()


def wait_until_it_listens(running: Running, number: signal.Signals) -> None:
    """Wait until the process has a handler of its own for the signal."""
    status = Path(f"/proc/{running.process.pid}/status")
    ends_at = time.monotonic() + 30
    while not int(status.read_text(encoding="ascii").partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1:
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def test_stopped_while_it_plans(move: Move) -> None:
    """Before a target that takes connections and says nothing: nothing was begun, and nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        clusters = move.bench.clusters_file.read_text(encoding="utf-8").replace(move.bench.b.uri, uri)
        move.shell.write("clusters.yaml", clusters)
        running = move.shell.start("apply", f"{move.name}.yaml", "--yes", "--clusters", "clusters.yaml")
        wait_until_it_listens(running, signal.SIGTERM)
        time.sleep(3.0)
        assert running.process.poll() is None
        answer, took_s = send_and_time(running, signal.SIGTERM)
    assert answer.code == 130
    assert took_s < 20
    assert not answer.out
    assert not list((move.shell.folder / ".migrator").glob("runs/*"))
    assert not move.bench.bucket_keys(f"backup/{move.name}")


def test_stopped_while_it_waits_for_a_lease(move: Move) -> None:
    """Of another run, which stands still for a while and then goes on as if nothing had been."""
    name = f"{move.name}_too"
    second = Move.make(move.bench, move.shell.folder, name, (Pair("mortal_one", "mortal_one"),), suffix=move.name)
    first = move.start("--yes")
    first.wait_for_event("step_started", "flush")
    first.process.send_signal(signal.SIGSTOP)
    try:
        running = second.start("--yes")
        running.wait_for_event("lock_waits")
        answer, took_s = send_and_time(running, signal.SIGTERM)
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert answer.code == 130
    assert took_s < 20
    assert not list((move.shell.folder / ".migrator").glob(f"runs/{name.replace('_', '-')}*"))
    assert first.finish().code == 0
    move.assert_done()
