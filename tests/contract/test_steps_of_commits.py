"""Import jobs over REST, killed at every point: many to a collection, found by their paths, committed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.errors import ImportJobFailed, StepInDoubt, VerificationFailed
from migrator.model.import_job import ImportState
from migrator.steps.commit_imports import CommitImports
from tests.contract.test_steps import FILMS, Undisturbed, World, described, rows_of, strikes
from tests.support.builders import BOOKS, Pair, an_index, create, flush, load, plan_text, some_rows
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.import_job import ImportJob

BOTH = (BOOKS, FILMS)
TEXT = plan_text(
    collections="[books, db1.films]",
    more="options: {transfer: {concurrency: 1}, import: {segments_per_job: 1, max_jobs: 2}, verify: full}\n",
)
TO_2_5, TO_3_0 = ("2.4.24", "2.5.5"), ("2.6.12", "3.0.0")


def a_pair(versions: tuple[str, str] = TO_3_0) -> Pair:
    """Two collections; one is counted, has two partitions, and of one partition two segments."""
    pair = Pair(versions=versions)
    create(pair.source, BOOKS)
    pair.source.create_partition(BOOKS, "old")
    for first in (0, 3):
        pair.source.insert(BOOKS, some_rows(3, start=first))
        flush(pair.source, BOOKS)
    pair.source.insert(BOOKS, some_rows(2, start=10), "old")
    pair.source.delete(BOOKS, [1])
    pair.source.create_index(BOOKS, an_index())
    load(pair.source, pair.clock, BOOKS)
    create(pair.source, FILMS)
    pair.source.insert(FILMS, some_rows(2))
    pair.source.create_index(FILMS, an_index())
    return pair


def left_behind(pair: Pair) -> dict[str, object]:
    """What stands at the target, and the jobs that brought it."""
    state: dict[str, object] = {"dump": sorted(key.rpartition("/")[0] for key in pair.keys("backup"))}
    for ref in BOTH:
        found = pair.target.find_collection(ref)
        assert found is not None
        state[str(ref)] = (described(found), rows_of(pair.target, ref))
    return state


def brought(pair: Pair) -> list[tuple[tuple[tuple[str, ...], ...], int]]:
    """What was asked for by jobs that brought it, and how many rows; a segment twice would be twice here."""
    jobs = [each for each in pair.target._jobs.values() if each.job.state is ImportState.COMPLETED]
    return sorted((each.entries, each.job.rows) for each in jobs)


def undisturbed(folder: Path, versions: tuple[str, str]) -> Undisturbed:
    return Undisturbed.record(folder, lambda: a_pair(versions), text=TEXT, state_of=left_behind)


@pytest.mark.parametrize(("versions", "kind"), [(TO_2_5, "import_segments"), (TO_3_0, "commit_imports")])
def test_every_segment_is_brought_once_wherever_the_run_dies(
    versions: tuple[str, str], kind: str, tmp_path: Path
) -> None:
    once = undisturbed(tmp_path / "once", versions)
    first = World.make(tmp_path / "first", a_pair(versions), text=TEXT)
    first.require_done(Fate())
    assert rows_of(first.pair.target, BOOKS) == rows_of(first.pair.source, BOOKS)
    assert strikes(once, kind)
    for number in strikes(once, kind):
        world = once.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert left_behind(world.pair) == once.state, once.points[number]
        assert brought(world.pair) == brought(first.pair), once.points[number]


@pytest.mark.parametrize("versions", [TO_2_5, TO_3_0], ids=" to ".join)
def test_requests_and_replies_that_are_lost_are_made_good(versions: tuple[str, str], tmp_path: Path) -> None:
    once = undisturbed(tmp_path / "once", versions)
    first = once.world(tmp_path / "first")
    first.require_done(Fate())
    for number, point in enumerate(once.points):
        if point.is_request and point.what in {"start_import", "commit_import"}:
            world = once.world(tmp_path / str(number))
            world.require_done(Fate(strike_at=number, lost_reply=True))
            assert left_behind(world.pair) == once.state, point
            assert brought(world.pair) == brought(first.pair), point


# -- together ---------------------------------------------------------------------------------------------------------


def prepared(folder: Path) -> World:
    """A run that died just before it committed anything."""
    once = undisturbed(folder / "once", TO_3_0)
    (strike,) = [n for n, point in enumerate(once.points) if point.what == "commit_import"][:1]
    world = once.world(folder / "prepared")
    assert world.attempt(Fate(strike_at=strike)) is None
    return world


def jobs_of(world: World) -> list[ImportJob]:
    return [each.job for each in world.pair.target._jobs.values()]


def test_no_row_is_seen_before_all_are_in(tmp_path: Path) -> None:
    world = prepared(tmp_path)
    (step,) = [step for step in world.plan.steps if isinstance(step, CommitImports)]
    assert step.describe() == "let the rows of 2 collections be seen at once"
    assert [job.state for job in jobs_of(world)] == [ImportState.UNCOMMITTED] * 4
    assert [rows_of(world.pair.target, ref) for ref in BOTH] == [[], []]
    world.require_done(Fate())
    assert [job.state for job in jobs_of(world)] == [ImportState.COMPLETED] * 4


def failure(world: World) -> Exception:
    """What the commit fails of; nothing was committed then."""
    result = world.attempt(Fate())
    assert result is not None
    assert [rows_of(world.pair.target, ref) for ref in BOTH] == [[], []]
    assert ImportState.COMPLETED not in {job.state for job in jobs_of(world)}
    return result.failures["commit_imports"]


def test_a_job_that_somebody_aborted_holds_all_back(tmp_path: Path) -> None:
    world = prepared(tmp_path)
    world.pair.target.abort_import(FILMS, jobs_of(world)[-1].job_id)
    error = failure(world)
    assert isinstance(error, ImportJobFailed)
    assert "was given up while it waited to be committed" in str(error)


def test_a_job_that_is_forgotten_holds_all_back(tmp_path: Path) -> None:
    world = prepared(tmp_path)
    del world.pair.target._jobs[jobs_of(world)[0].job_id]
    assert isinstance(failure(world), StepInDoubt)


def test_a_number_that_is_wrong_holds_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target loses a row of books, which were counted: films wait too."""
    pair = a_pair()
    run = pair.target._run

    def lossy(each: object) -> ImportJob:
        job = run(each)  # type: ignore[arg-type] # of the memory's own
        each.rows = each.rows[1:]  # type: ignore[attr-defined]
        return type(job)(**{name: getattr(job, name) for name in job.__slots__} | {"rows": job.rows - 1})

    monkeypatch.setattr(pair.target, "_run", lossy)
    error = failure(World.make(tmp_path, pair, text=TEXT))
    assert isinstance(error, VerificationFailed)
    assert str(error).startswith("the import jobs of books brought 3 rows of partition '_default', and books had 5")
