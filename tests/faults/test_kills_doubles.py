"""Runs into every newer line of Milvus, killed at every request or cut off from every reply: all rows, each once.

The targets are doubles, which take a second to start; so is the source, with deletes in segments of their own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from migrator.ports.milvus import MilvusReader, MilvusTarget
from tests.contract.test_double_sources import _EXPECTED, _fill, _make, _told
from tests.contract.test_moves_between_doubles import a_cluster
from tests.support.cli import Shell
from tests.support.deaths import read_struck
from tests.support.double_cases import bed, double_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]

EXHAUSTIVE = pytest.mark.exhaustive
BRIEF_SETTLE_S = "1"
"""How long a request without a reply is looked for: doubles register it at once."""
REQUESTS = {name for name in vars(MilvusTarget).keys() - vars(MilvusReader).keys() if not name.startswith("_")}
IMPORTS = frozenset({"start_import", "commit_import"})
PLAN = """\
version: 1
name: {name}
source: {source}
target: {target}
staging: {{root_path: staged}}
collections: [{collections}]
options: {{verify: full, import: {{segments_per_job: 1}}}}
"""
PAIRS = {"2.4.24": "2.4.5", "2.5.20": "2.4.24", "2.6.12": "2.5.20", "3.0.0": "2.6.12"}
"""Sources by their targets."""


@dataclass(frozen=True, slots=True)
class Move:
    """A plan of two collections between two doubles."""

    source: Double
    target: Double
    shell: Shell
    names: tuple[str, ...]

    @classmethod
    def make(cls, bed: Bed, double_of: DoubleOf, folder: Path, version: str, test: str) -> Move:
        """Fill the collections, and write the plan file."""
        source, target = double_of(PAIRS[version]), double_of(version)
        label = f"{test}_{version}".replace(".", "_")
        names = (f"{label}_one", f"{label}_two")
        for name in names:
            _make(source, name)
            _fill(source, name)
        shell = Shell(folder, {"KEY": "key", "SECRET": "secret"})
        listed = ", ".join(f"{{source: {name}, target: {name}_moved}}" for name in names)
        sides = {"source": a_cluster(source, bed), "target": a_cluster(target, bed)}
        shell.write("plan.yaml", PLAN.format(name=label.replace("_", "-"), collections=listed, **sides))
        return cls(source, target, shell, names)

    def assert_done(self) -> None:
        """Every row is there as at the source, and no job brought what another had brought."""
        for name in self.names:
            assert _told(self.target, f"{name}_moved") == _EXPECTED
        brought = Counter(
            path
            for job in self.target.ask("jobs")
            if job["state"] == "Completed" and job["collection_name"].removesuffix("_moved") in self.names
            for entry in job["files"]
            for path in entry["paths"]
        )
        assert len(brought) > len(self.names)
        assert set(brought.values()) == {1}
        assert self.target.ask("sins") == []


# -- killed -----------------------------------------------------------------------------------------------------------


def die(move: Move, **variables: str) -> set[tuple[str, str]]:
    """Kill the run once at every point, and let it end; the requests at which it died, with the moments."""
    struck = move.shell.folder / "struck.jsonl"
    running = move.shell.start(
        *("apply", "plan.yaml", "--resume", "--yes"),
        program="tests.support.deaths",
        DEATHS_FILE=str(struck),
        DEATHS_SETTLE_S=BRIEF_SETTLE_S,
        **variables,
    )
    answer = running.finish(within_s=1800)
    assert answer.code == 0, answer.text
    return {(point.what, point.moment) for point in read_struck(struck)}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", ["2.4.24", "3.0.0"])
def test_killed_before_and_after_every_request_of_imports(
    version: str, bed: Bed, double_of: DoubleOf, tmp_path: Path
) -> None:
    """Before it is sent, and when it is done and its reply was not heard of."""
    move = Move.make(bed, double_of, tmp_path, version, "imports")
    struck = die(move, DEATHS_WHAT=",".join(IMPORTS))
    wanted = IMPORTS if version == "3.0.0" else IMPORTS - {"commit_import"}
    assert struck == {(name, moment) for name in wanted for moment in ("before", "after")}
    move.assert_done()


@EXHAUSTIVE
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("version", PAIRS)
@pytest.mark.parametrize("what", ["requests", "everything"])
def test_killed_everywhere(version: str, what: str, bed: Bed, double_of: DoubleOf, tmp_path: Path) -> None:
    """At every request to the target, or also at every write of the journal and of stores."""
    move = Move.make(bed, double_of, tmp_path, version, what)
    struck = die(move, **({"DEATHS_WHAT": ",".join(REQUESTS)} if what == "requests" else {}))
    for moment in ("before", "after"):
        assert {(name, moment) for name in ("create_collection", "start_import", "create_index", "load")} <= struck
    move.assert_done()


# -- cut off ----------------------------------------------------------------------------------------------------------


WRITES = ("CreateCollection", "CreateIndex", "LoadCollection", "jobs/import/create", "jobs/import/commit")


@pytest.mark.parametrize(
    "version", ["2.6.12", *(pytest.param(each, marks=EXHAUSTIVE) for each in ("2.4.24", "2.5.20", "3.0.0"))]
)
def test_replies_that_are_lost_or_late_or_never_come(
    version: str, bed: Bed, double_of: DoubleOf, tmp_path: Path
) -> None:
    """Of the first request to import the reply is lost, the second times out and its job turns up later."""
    move = Move.make(bed, double_of, tmp_path, version, "cut_off")
    for name in WRITES:
        move.target.misbehave(name, "lose_reply")
    move.target.misbehave("jobs/import/create", "timeout", skip=1, delay_s=1.0)
    move.target.misbehave("jobs/import/list", "slow", times=2, delay_s=1.0)
    move.target.misbehave("DescribeCollection", "unavailable", times=2, skip=3)
    try:
        move.shell.run("apply", "plan.yaml", "--yes")
    finally:
        move.target.ask("behave")
    move.assert_done()


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("3.0.0", "commit_imports"),
        *(
            pytest.param(version, kind, marks=EXHAUSTIVE)
            for version in PAIRS
            for kind in ("create_collection", "import_segments", "import_deletes", "create_index", "load_collection")
            if (version, kind) != ("3.0.0", "import_deletes")
        ),
    ],
)
def test_a_target_that_restarts(version: str, kind: str, bed: Bed, double_of: DoubleOf, tmp_path: Path) -> None:
    move = Move.make(bed, double_of, tmp_path, version, f"restart_{kind}")
    running = move.shell.start("apply", "plan.yaml", "--yes", "--format", "json")
    running.wait_for_event("step_started", kind)
    move.target.ask("restart", down_s=2.0)
    answer = running.finish()
    assert answer.code == 0, answer.text
    move.assert_done()


# -- undone -----------------------------------------------------------------------------------------------------------


def test_what_waits_to_be_committed_is_aborted_by_a_rollback(bed: Bed, double_of: DoubleOf, tmp_path: Path) -> None:
    """Of one collection the import fails, so that those of the other wait."""
    move = Move.make(bed, double_of, tmp_path, "3.0.0", "undone")
    move.target.ask("fail_next_job", reason="a file is torn")
    answer = move.shell.run("apply", "plan.yaml", "--yes", code=20)
    assert "a file is torn" in answer.text
    (run,) = (move.shell.folder / ".migrator" / "runs").iterdir()
    jobs = own_jobs(move)
    assert "Uncommitted" in {job["state"] for job in jobs}
    assert {sum(map(len, move.target.rows(f"{name}_moved").values())) for name in move.names} == {0}
    move.shell.run("rollback", run.name, "--yes")
    assert {job["state"] for job in own_jobs(move)} == {"Failed"}
    assert {job["reason"] for job in own_jobs(move)} == {"a file is torn", "aborted"}


def own_jobs(move: Move) -> list[dict[str, Any]]:
    """The target's jobs of this plan."""
    return [job for job in move.target.ask("jobs") if job["collection_name"].removesuffix("_moved") in move.names]
