"""Two runs at once, of one plan or of two that meet: one wins, the other leaves nothing behind."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.arrivals import Pair, assert_arrived, assert_dumped, target_names
from tests.support.cli import SECRET, Answer, Running, Shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench

REFUSED = {11, 12, 21}
"""No plan can be made any more; what was planned does not hold any more; somebody else holds it."""
SOURCE = "together"


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that apply a plan to the collection `together`."""

    shell: Shell
    plan: str
    backup_name: str
    target: str

    @classmethod
    def make(cls, bench: Bench, folder: Path, plan: str, *, backup_name: str, target: str) -> Side:
        """Write its plan file; the folder is its working directory, and holds its state."""
        folder.mkdir(exist_ok=True)
        shell = Shell(folder, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
        shell.write(
            f"{plan}.yaml",
            f"version: 1\nname: {plan}\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\n"
            f"staging: {{root_path: backup, backup_name: {backup_name}}}\n"
            f"collections: [{{source: {SOURCE}, target: {target}}}]\n",
        )
        return cls(shell, plan, backup_name, target)

    @property
    def pairs(self) -> list[Pair]:
        """What its plan moves."""
        return [Pair(SOURCE, self.target)]

    def start(self, *arguments: str) -> Running:
        """Apply its plan, told as JSON lines."""
        return self.shell.start(
            *("apply", f"{self.plan}.yaml", "--yes", "--lock-timeout", "60s", "--format", "json", *arguments)
        )

    def runs(self) -> list[str]:
        """The runs of its plan in its state directory."""
        return sorted(path.name for path in (self.shell.folder / ".migrator").glob(f"runs/{self.plan}-2*"))


@dataclass(frozen=True, slots=True)
class Contest:
    """Two sides and how they came out, the winner first."""

    winner: Side
    loser: Side
    won: Answer
    lost: Answer


def contend(first: Side, second: Side) -> Contest:
    """Start both within milliseconds, and wait for both ends."""
    running = [first.start(), second.start()]
    answers = [each.finish() for each in running]
    won, lost = (0, 1) if answers[0].code == 0 and did_something(answers[0]) else (1, 0)
    sides = (first, second)
    return Contest(sides[won], sides[lost], answers[won], answers[lost])


def did_something(answer: Answer) -> bool:
    """Whether a run was begun and came to an end of its own."""
    return any(event["event"] == "run_ended" for event in answer.events)


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """One collection, read by all."""
    sources.fill_small(bench.a.uri, SOURCE, rows=150, shards=2, deleted=9)
    return bench


@pytest.fixture(scope="module")
def contests(filled: Bench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Contest]:
    """All of them at the same time: they mostly wait."""
    folder = tmp_path_factory.mktemp("together")
    side = partial(Side.make, filled)
    pairs = {
        "one state": [side(folder / "one", "one", backup_name="together_one", target="together_one")] * 2,
        "two states": [
            side(folder / f"two_{n}", "two", backup_name="together_two", target="together_two") for n in "ab"
        ],
        "one target": [
            side(folder / f"three_{n}", f"three-{n}", backup_name=f"together_three_{n}", target="together_three")
            for n in "ab"
        ],
        "one dump": [
            side(folder / f"four_{n}", f"four-{n}", backup_name="together_four", target=f"together_four_{n}")
            for n in "ab"
        ],
    }
    with ThreadPoolExecutor(len(pairs)) as pool:
        jobs = {name: pool.submit(contend, *both) for name, both in pairs.items()}
        return {name: job.result() for name, job in jobs.items()}


@pytest.mark.parametrize("name", ["one state", "two states", "one target", "one dump"])
def test_the_winner_brings_every_row_once(name: str, contests: dict[str, Contest], filled: Bench) -> None:
    contest = contests[name]
    assert contest.won.code == 0, contest.won.text + contest.lost.text
    assert contest.won.events[-1]["exit_code"] == 0
    assert_arrived(filled, contest.winner.pairs)
    assert_dumped(filled, contest.winner.backup_name, contest.winner.pairs)


def test_in_one_state_directory_the_other_finds_all_done(contests: dict[str, Contest]) -> None:
    contest = contests["one state"]
    assert contest.lost.code == 0
    assert contest.lost.events[-1]["event"] == "nothing_to_do"
    assert len(contest.loser.runs()) == 1


@pytest.mark.parametrize("name", ["two states", "one target", "one dump"])
def test_the_loser_says_why_and_leaves_nothing_behind(name: str, contests: dict[str, Contest], filled: Bench) -> None:
    contest = contests[name]
    assert_refused(filled, contest.loser, contest.lost)
    if contest.loser.target != contest.winner.target:
        assert contest.loser.target not in target_names(filled, SOURCE)
    if contest.loser.backup_name != contest.winner.backup_name:
        assert not filled.bucket_keys(f"backup/{contest.loser.backup_name}")
    assert "Nothing to do" in contest.winner.shell.run("apply", f"{contest.winner.plan}.yaml", "--yes").out


def assert_refused(bench: Bench, loser: Side, answer: Answer) -> None:
    """It did nothing, says why, and no run of it is left."""
    assert answer.code in REFUSED, answer.text
    assert not any(event["event"] == "step_started" for event in answer.events), answer.text
    assert answer.err.startswith(("error: ", "! ")), answer.err
    assert loser.runs() == []
    assert not [key for key in bench.bucket_keys(".migrator/leases/") if loser.plan in key]


@pytest.mark.parametrize("shared", ["target", "dump"])
def test_killed_in_mid_import_while_another_waits(shared: str, filled: Bench, tmp_path: Path) -> None:
    """The other takes the lease over once the heart stands still, and sees that its plan holds no more."""
    name = f"together_killed_{shared}"
    first = Side.make(filled, tmp_path / "first", f"killed-{shared}", backup_name=name, target=name)
    second = Side.make(
        *(filled, tmp_path / "second", f"waiting-{shared}"),
        backup_name=name if shared == "dump" else f"{name}_too",
        target=name if shared == "target" else f"{name}_too",
    )
    running = first.start()
    running.wait_for_event("step_started", "flush")
    running.process.send_signal(signal.SIGSTOP)  # until the other has planned, and waits
    waiting = second.start()
    try:
        waiting.wait_for_event("lock_waits")
    finally:
        running.process.send_signal(signal.SIGCONT)
    running.wait_for_event("step_started", "import_segments")
    time.sleep(0.5)
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL

    assert_refused(filled, second, waiting.finish())
    first.shell.run("apply", "--resume")
    assert_arrived(filled, first.pairs)
    assert_dumped(filled, name, first.pairs)
    assert f"{name}_too" not in target_names(filled, SOURCE)
    assert not filled.bucket_keys(f"backup/{name}_too")
