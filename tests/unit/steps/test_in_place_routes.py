"""Segments that the target reads where the source keeps them: which, whether they hold, and what happens if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import ListingOutdated, NothingToImport, Outdated, StagedFilesDiffer, StepInDoubt
from migrator.running.backup_shelf import BackupShelf
from migrator.steps.base import Evidence
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_collection import CreateCollection, noted_id
from migrator.steps.import_segments import ImportSegments
from migrator.steps.in_place import find_routes
from migrator.steps.in_place_routes import REQUEST_BYTES, SMALL, STRANGE_FILES, Candidate, choose_route
from migrator.steps.seal_dump import SealDump, find_entries
from migrator.steps.transfer import TransferMode
from tests.support.builders import BOOKS, Pair, create, flush, run_steps, some_rows
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from migrator.model.segment import SegmentBatch

MB = 1024**2
IN_PLACE = "options: {transfer: {mode: in_place, concurrency: 1}}\n"


# -- which ------------------------------------------------------------------------------------------------------------


def candidates(*sizes: int, obstacle: str = "") -> list[Candidate]:
    return [
        Candidate(segment_id=number, objects=5, size_bytes=size, obstacle=obstacle if number == 1 else "")
        for number, size in enumerate(sizes, start=1)
    ]


def test_a_folder_that_holds_the_live_set_goes_as_a_whole() -> None:
    route = choose_route(candidates(1, 2, 3), is_littered=False, takes_many=False)
    assert (route.is_whole, set(route.in_place), dict(route.copied)) == (True, {1, 2, 3}, {})


@pytest.mark.parametrize(
    ("sizes", "littered", "obstacle", "in_place", "copied"),
    [
        pytest.param((900 * MB, 800 * MB), True, "", {1, 2}, {}, id="large ones, each by itself"),
        pytest.param((MB, MB, MB, 900 * MB), True, "", {4}, {SMALL: 3}, id="small ones together"),
        pytest.param((MB,), True, "", {1}, {}, id="one alone gains nothing"),
        pytest.param((MB, MB), False, STRANGE_FILES, set(), {STRANGE_FILES: 1, SMALL: 1}, id="beside one that must"),
        pytest.param((REQUEST_BYTES // 2, REQUEST_BYTES), False, "", {1, 2}, {}, id="more than a request brings"),
    ],
)
def test_else_what_is_cheapest(
    sizes: Sequence[int],
    littered: bool,  # noqa: FBT001 - a parameter of the test
    obstacle: str,
    in_place: set[int],
    copied: dict[str, int],
) -> None:
    route = choose_route(candidates(*sizes, obstacle=obstacle), is_littered=littered, takes_many=False)
    assert (route.is_whole, set(route.in_place), dict(route.copied)) == (False, in_place, copied)


def test_a_target_that_takes_many_folders_gets_each_segment_by_itself() -> None:
    route = choose_route(candidates(MB, MB, obstacle=STRANGE_FILES), is_littered=True, takes_many=True)
    assert (route.is_whole, set(route.in_place), dict(route.copied)) == (False, {2}, {STRANGE_FILES: 1})


# -- the steps --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Pair:
    """Two partitions of two segments, one of which has a delete: 10 rows, 9 of them live."""
    pair = Pair()
    create(pair.source)
    pair.source.create_partition(BOOKS, "old")
    for start in (0, 10):
        pair.source.insert(BOOKS, some_rows(2, start=start))
        pair.source.insert(BOOKS, some_rows(3, start=start + 5), "old")
        flush(pair.source)
    pair.source.delete(BOOKS, [0])
    return pair


@pytest.fixture
def stage(pair: Pair, tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path, pair, more=IN_PLACE) as stage:
        yield stage


def batches(stage: Stage) -> list[SegmentBatch]:
    return list(stage.step(ImportSegments)._noted_batches(stage.ctx) or ())


def staged(stage: Stage) -> list[str]:
    return sorted(stage.pair.keys("backup/a_to_b/binlogs"))


def folder(stage: Stage, kind: str, segment: int = 0) -> str:
    """Of a partition's first segment."""
    found = sorted(stage.pair.keys(f"files_A/{kind}"))
    return found[segment].rsplit("/", 2 if kind == "insert_log" else 1)[0]


def rows(stage: Stage) -> int:
    return len(stage.pair.target.rows(BOOKS))


def test_nothing_is_copied_and_all_rows_are_there(stage: Stage) -> None:
    before = stage.pair.keys("files_A/insert_log")
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    assert (rows(stage), staged(stage)) == (9, [])
    source = f"files_A/%s/{stage.step(ImportSegments).collection_id}"
    entries = [batch.entries for batch in batches(stage)]
    first, second = (batch.partition_id for batch in batches(stage))
    assert entries[0] == ((f"{source % 'insert_log'}/{first}/", f"{source % 'delta_log'}/{first}/"),)
    assert entries[1] == ((f"{source % 'insert_log'}/{second}/",),)
    assert stage.pair.keys("files_A/insert_log") == before


def test_a_plan_tells_what_it_saves(stage: Stage) -> None:
    (planned,) = stage.plan.collections
    assert planned.estimate.in_place_objects == planned.estimate.objects > 0
    assert stage.step(CopySegments).mode is TransferMode.IN_PLACE
    assert any("is no backup" in notice for notice in stage.plan.notices)


@pytest.mark.parametrize("is_staged_there", [True, False])
def test_what_the_targets_credentials_do_not_show_is_copied(
    pair: Pair,
    tmp_path: Path,
    is_staged_there: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    other = MemoryStore()
    pair.apart = (other if is_staged_there else pair.store, other)
    with a_stage(tmp_path, pair, more=IN_PLACE) as stage:
        assert stage.step(CopySegments).mode is TransferMode.AUTO
        assert any("everything is copied" in notice for notice in stage.plan.notices)


def test_a_file_that_belongs_to_no_segment_has_its_segment_copied(stage: Stage) -> None:
    stranger = f"{folder(stage, 'insert_log')}/999"
    stage.apply_before(CopySegments)
    stage.pair.store.write(stranger, b"[]")
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    routes = find_routes(stage.ctx.ledger, BOOKS)
    assert routes is not None
    assert routes.copied[STRANGE_FILES] == 1
    assert rows(stage) == 9
    assert staged(stage)
    assert not any(key.endswith("/999") for key in staged(stage))


@pytest.mark.parametrize("name", ["note.txt", "0/0/x/y", ""])
def test_a_stranger_in_the_dump_is_told_by_its_name(stage: Stage, name: str) -> None:
    stage.apply_before(CopySegments)
    step = stage.step(CopySegments)
    stage.apply(step)  # it came after the run took the dump for its own
    stage.pair.store.write(f"backup/a_to_b/binlogs/insert_log/{step.collection_id}/{name}", b"x")
    with pytest.raises(StagedFilesDiffer, match="which this run did not put there"):
        stage.apply(step)


def test_a_dead_segment_beside_the_live_ones_is_not_imported(stage: Stage) -> None:
    compact(stage)
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    assert rows(stage) == 9


def test_deletes_that_were_written_since_are_no_movement(stage: Stage) -> None:
    stage.apply_before(ImportSegments)
    stage.pair.store.write(f"{folder(stage, 'delta_log')}/999", b"[]")
    stage.apply(stage.step(ImportSegments))
    assert rows(stage) == 9


# -- files that move --------------------------------------------------------------------------------------------------


def compact(stage: Stage) -> None:
    """A segment appears in the folder of a partition, with the rows of one that was there."""
    for key, content in stage.pair.keys(folder(stage, "insert_log").rpartition("/")[0]).items():
        parts = key.split("/")
        parts[4] = "7"
        stage.pair.store.write("/".join(parts), content)


def test_what_moved_before_the_request_is_never_imported(stage: Stage) -> None:
    stage.apply_before(ImportSegments)
    compact(stage)
    step = stage.step(ImportSegments)
    with pytest.raises(ListingOutdated, match="is dropped and done anew") as caught:
        stage.apply(step)
    assert stage.pair.target.find_collection(BOOKS) is None
    assert stage.step(CreateCollection).key in caught.value.renews
    assert not stage.pair.target.list_import_jobs(BOOKS)


def moves_during(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request meets files that came after the last look."""
    plain, left = stage.pair.target.start_import, [compact]

    def start(*args: object, **named: object) -> int:
        if left:
            left.pop()(stage)
        return plain(*args, **named)  # type: ignore[arg-type]  # as it was asked

    monkeypatch.setattr(stage.pair.target, "start_import", start)


def test_what_moved_during_the_import_is_dropped_and_done_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    moves_during(stage, monkeypatch)
    stage.apply_before(CreateCollection)
    stage.apply(stage.step(CreateCollection))
    first = noted_id(stage.ctx.ledger, BOOKS)
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    assert rows(stage) == 9
    assert noted_id(stage.ctx.ledger, BOOKS) != first
    routes = find_routes(stage.ctx.ledger, BOOKS)
    assert routes is None or not routes.whole


@pytest.mark.parametrize("when", ["noted", "dropped"])
def test_a_kill_before_or_after_the_drop_is_carried_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    moves_during(stage, monkeypatch)
    stage.apply_before(ImportSegments)
    step, plain = stage.step(ImportSegments), stage.pair.target.drop_collection

    def drop(*args: object) -> None:
        if when == "dropped":
            plain(*args)  # type: ignore[arg-type]  # as it was asked
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage.pair.target, "drop_collection", drop)
        with pytest.raises(KeyboardInterrupt):
            step.apply(stage.ctx, Evidence.ABSENT)
    assert step.probe(stage.ctx.reading()) is not Evidence.DONE
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    assert rows(stage) == 9


def test_what_moved_before_the_target_looked_is_done_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later releases list the files as they are asked, and refuse where there are none."""
    plain, left = stage.pair.target.start_import, [compact]

    def start(*args: object, **named: object) -> int:
        if left:
            left.pop()(stage)
            raise NothingToImport("no insert log under the path")
        return plain(*args, **named)  # type: ignore[arg-type]  # as it was asked

    monkeypatch.setattr(stage.pair.target, "start_import", start)
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    assert rows(stage) == 9


@pytest.mark.parametrize("what", ["wrote 2 rows to it", "gave it the alias library"])
def test_what_somebody_else_put_into_the_collection_is_not_dropped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    moves_during(stage, monkeypatch)
    stage.apply_before(ImportSegments)
    target = stage.pair.target
    if "alias" in what:
        target.create_alias(BOOKS, "library")
    else:
        target.insert(BOOKS, some_rows(2, start=900))
    for _ in range(2):  # a resume finds it as it was
        with pytest.raises(StepInDoubt, match=what):
            stage.apply(stage.step(ImportSegments))
        assert target.find_collection(BOOKS) is not None
    if "alias" in what:
        target.drop_alias(BOOKS, "library")
    else:
        target.delete(BOOKS, [900, 901])
        target.compact(BOOKS)
    with pytest.raises(ListingOutdated, match="is dropped"):
        stage.apply(stage.step(ImportSegments))
    assert target.find_collection(BOOKS) is None


def test_copies_that_are_made_anew_lie_where_the_requests_were_cut_for(stage: Stage) -> None:
    """What had to be copied beside what is read in place stays copied, though its folder was tidied up meanwhile."""
    stranger = f"{folder(stage, 'insert_log')}/999"
    stage.apply_before(CopySegments)
    stage.pair.store.write(stranger, b"[]")
    for kind in (CopySegments, CreateCollection):
        stage.apply(stage.step(kind))
    wanted = staged(stage)
    stage.step(ImportSegments)._batches(stage.ctx)  # killed before the first request
    stage.pair.store.delete([stranger, wanted[0]])
    run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert staged(stage) == wanted
    assert rows(stage) == 9


def test_an_import_is_done_only_once_its_files_were_seen_again(stage: Stage) -> None:
    stage.apply_before(ImportSegments)
    step = stage.step(ImportSegments)
    stage.apply(step)
    stage.ctx.ledger.note(step.key, {"checked": False})  # killed between the last job and the last look
    assert step.probe(stage.ctx.reading()) is not Evidence.DONE
    compact(stage)
    with pytest.raises(Outdated):
        step.apply(stage.ctx, Evidence.ABSENT)


# -- the dump ---------------------------------------------------------------------------------------------------------


def test_the_description_does_not_pass_for_a_backup(stage: Stage) -> None:
    result = run_steps(stage.plan.steps, stage.ctx, stage.journal)
    assert result.is_complete, result.failures
    assert find_entries(stage.ctx.staging, stage.step(SealDump).dump_prefix) == []
    (found,) = BackupShelf(stage.pair.store, "backup", is_bucket=True, clock=stage.pair.clock).backups()
    assert found.read_in_place == ("run-1",)
    assert "nothing can be restored" in found.problem
    assert b"books" in stage.pair.store.read("backup/a_to_b/meta/in_place-run-1.json")
