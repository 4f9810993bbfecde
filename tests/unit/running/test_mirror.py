"""A journal in the bucket: another machine goes on with it, and two never do at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import LockHeld, RunError, StoreUnavailable
from migrator.model.segment import Binlog, LogKind, Segment, StoredObject
from migrator.planning.planner import make_plan
from migrator.running.journal import Journal, StepEvent
from migrator.running.mirror import JournalMirror, adopt, last_number, restore
from migrator.running.refresh import refresh
from migrator.running.retry import RetryPolicy
from migrator.running.runs import Run, StateDirectory
from tests.support.builders import FakeClock, Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Buffer

    from migrator.errors import MigratorError

FOLDER = ".migrator/runs/a-to-b/run-1"
KEY = "import_segments:default.books"


class Machine:
    """A state directory somewhere, with the journal of one run."""

    def __init__(self, folder: Path, store: MemoryStore, clock: FakeClock) -> None:
        folder.mkdir()
        (folder / "run.json").write_text("{}")
        self.waited: list[str] = []
        self.journal = Journal(folder / "journal.db", clock)
        self.store = store
        self.run = Run(run_id="run-1", created_at="", loaded=None, plan=None, folder=folder)  # type: ignore[arg-type]
        policy = RetryPolicy(max_elapsed_s=60, max_backoff_s=1)
        self.mirror = JournalMirror(store, FOLDER, policy=policy, clock=clock, on_wait=self._hear)

    def _hear(self, error: MigratorError, _: float) -> None:
        self.waited.append(error.message)

    def begin(self) -> Machine:
        """Bring journal and bucket to one state."""
        self.mirror.begin(self.run, self.journal)
        return self


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def binlog(number: int) -> Binlog:
    return Binlog(
        kind=LogKind.INSERT,
        collection_id=1,
        partition_id=2,
        segment_id=3,
        field_id=100,
        log_id=number,
        source=StoredObject(f"files_A/insert_log/1/2/3/100/{number}", 10, f"etag-{number}"),
    )


def told(journal: Journal) -> list[tuple[int, str, str, object]]:
    return [(r["number"], r["step_key"], r["event"], r["data"]) for r in journal.records(after=0)]


def test_an_entry_is_in_the_bucket_when_it_is_noted(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()
    here.journal.note(KEY, {"attempt": 1})
    there = Machine(tmp_path / "there", store, clock)
    restore(store, FOLDER, there.journal)
    assert there.journal.notes(KEY) == {"attempt": 1}
    assert store.read(f"{FOLDER}/run.json") == b"{}"


def test_another_machine_has_listing_and_copies(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()
    here.journal.freeze(1, [Segment(9, 2, 5)], [binlog(7)])
    here.journal.note("dump_meta:default.books", {"frozen": {"of": "a first generation"}})
    here.journal.add("dump_meta:default.books", StepEvent.RENEWED)
    here.journal.freeze(1, [Segment(3, 2, 5)], [binlog(1), binlog(2)])
    here.journal.note_copied(1, [binlog(1)])
    here.journal.add("copy_segments:default.books", StepEvent.FINISHED)
    there = Machine(tmp_path / "there", store, clock).begin()
    assert told(there.journal) == told(here.journal)
    assert there.journal.totals(1) == here.journal.totals(1)
    assert list(there.journal.binlogs(1)) == [binlog(1), binlog(2)]
    assert list(there.journal.uncopied(1)) == [binlog(2)]
    assert list(there.journal.superseded(1)) == [binlog(7).staged_suffix]
    assert there.journal.notes("dump_meta:default.books") == {}


def test_what_was_not_sent_before_a_kill_is_sent_on_resume(
    tmp_path: Path, store: MemoryStore, clock: FakeClock
) -> None:
    here = Machine(tmp_path / "here", store, clock)
    here.journal.note(KEY, {"attempt": 1})  # noted, and killed before it was sent
    here.begin()
    assert last_number(store, FOLDER) == 1


def test_the_bucket_is_right_where_a_run_went_on_elsewhere(
    tmp_path: Path, store: MemoryStore, clock: FakeClock
) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()
    here.journal.note(KEY, {"attempt": 1})
    there = Machine(tmp_path / "there", store, clock).begin()
    there.journal.note(KEY, {"attempt": 2})
    there.journal.note(KEY, {"job_id": 5})
    with pytest.raises(LockHeld, match="went on elsewhere"):
        here.journal.note(KEY, {"attempt": 3})
    again = Machine(tmp_path / "again", store, clock)
    again.journal.note(KEY, {"attempt": 1})
    again.journal.note(KEY, {"attempt": 3})
    again.begin()
    assert again.journal.notes(KEY) == {"attempt": 2, "job_id": 5}


def test_a_lost_reply_is_no_conflict(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()
    write, calls = store.write, []

    def loses_the_first_reply(key: str, data: bytes, *, create_only: bool = False) -> bool:
        done = write(key, data, create_only=create_only)
        calls.append(key)
        if len(calls) == 1:
            raise StoreUnavailable("no reply")
        return done

    store.write = loses_the_first_reply  # type: ignore[method-assign]
    here.journal.note(KEY, {"attempt": 1})
    assert len(calls) == 2
    assert here.waited == ["no reply"]


def test_a_listing_is_whole_after_an_outage_in_its_midst(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()
    write_stream, calls = store.write_stream, []

    def breaks_once(key: str, parts: Iterable[Buffer], **named: Any) -> None:  # noqa: ANN401 - as the port
        calls.append(key)
        if len(calls) == 1:
            list(parts)
            raise StoreUnavailable("the connection broke")
        write_stream(key, parts, **named)

    store.write_stream = breaks_once  # type: ignore[method-assign]
    here.journal.freeze(1, [Segment(3, 2, 5)], [binlog(1), binlog(2)])
    here.journal.note("dump_meta:default.books", {"frozen": {}})
    there = Machine(tmp_path / "there", store, clock).begin()
    assert len(calls) == 2
    assert there.journal.totals(1) == here.journal.totals(1)
    assert list(there.journal.binlogs(1)) == [binlog(1), binlog(2)]


def test_copies_are_noted_by_many_at_once(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()
    logs = [binlog(number) for number in range(400)]
    here.journal.freeze(1, [Segment(3, 2, 5)], logs)

    def note(each: Binlog) -> None:
        here.journal.note_copied(1, [each])
        clock.sleep(1)
        here.mirror._push_copied()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, logs))
    there = Machine(tmp_path / "there", store, clock)
    restore(store, FOLDER, there.journal)
    assert list(there.journal.uncopied(1)) == []


def test_nothing_goes_on_without_the_mirror(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock).begin()

    def is_down(*_: object, **__: object) -> bool:
        raise StoreUnavailable("nothing answers")

    store.write = is_down  # type: ignore[method-assign]
    with pytest.raises(RunError, match="mirror in the staging bucket cannot be used: nothing answers"):
        here.journal.note(KEY, {"attempt": 1})
    assert clock.monotonic() >= 60


# -- taken over -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_begun", [True, False])
def test_only_a_run_with_a_step_begun_is_taken_over(tmp_path: Path, *, has_begun: bool) -> None:
    pair = Pair()
    fill(pair)
    loaded = a_loaded_plan(tmp_path)
    one, two = (StateDirectory(tmp_path / name, pair.clock) for name in ("one", "two"))
    run = one.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), ())))
    policy, folder = RetryPolicy(), ".migrator/runs/a-to-b"
    with one.journal(run, read_only=False) as journal:
        mirror = JournalMirror(
            pair.store, f"{folder}/{run.run_id}", policy=policy, clock=pair.clock, on_wait=lambda *_: None
        )
        mirror.begin(run, journal)
        journal.add("", StepEvent.STARTED)
        if has_begun:
            journal.add(run.plan.steps[0].key, StepEvent.STARTED)
    adopt(pair.store, folder, two, known=two)
    assert [found.run_id for found in two.unfinished("a-to-b")] == ([run.run_id] if has_begun else [])
    before = {path: path.stat().st_mtime_ns for path in two.folder.rglob("*")}
    adopt(pair.store, folder, two, known=two)  # nothing new: nothing is written
    if has_begun:
        assert {path: path.stat().st_mtime_ns for path in two.folder.rglob("*") if path.name == "journal.db"} == {
            path: at for path, at in before.items() if path.name == "journal.db"
        }


class SlowStore(MemoryStore):
    """A bucket that answers only once it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> bool:
        """Wait for the gate."""
        assert self.gate.wait(30)
        return super().write(key, data, create_only=create_only)


def test_what_is_noted_while_the_bucket_answers_goes_together(tmp_path: Path, clock: FakeClock) -> None:
    store = SlowStore()
    here = Machine(tmp_path / "here", store, clock).begin()
    store.gate.clear()
    with ThreadPoolExecutor(9) as pool:
        notes = [pool.submit(here.journal.note, KEY, {f"of {number}": number}) for number in range(9)]
        while len(here.journal._added) < 8:  # one is under way, the others wait for it
            pass
        assert not any(note.done() for note in notes)
        store.gate.set()
    assert [key.rpartition("/")[2] for key in sorted(store._objects) if "/entries/" in key] == [
        "0000000001",
        "0000000002",
    ]
    assert last_number(store, FOLDER) == 9
    there = Machine(tmp_path / "there", store, clock).begin()
    assert told(there.journal) == told(here.journal)
    here.journal.note(KEY, {"more": 1})
    with pytest.raises(LockHeld, match="went on elsewhere"):
        there.journal.note(KEY, {"more": 2})


def test_a_group_that_cannot_be_noted_fails_all_that_wait_for_it(tmp_path: Path, clock: FakeClock) -> None:
    store = SlowStore()
    here = Machine(tmp_path / "here", store, clock).begin()
    there = Machine(tmp_path / "there", store, clock).begin()
    there.journal.note(KEY, {"attempt": 1})
    store.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        notes = [pool.submit(here.journal.note, KEY, {"attempt": 2}) for _ in range(4)]
        while len(here.journal._added) < 3:
            pass
        store.gate.set()
    assert [type(note.exception()) for note in notes] == [LockHeld] * 4


def test_a_disk_that_knows_half_a_group_learns_the_rest(tmp_path: Path, store: MemoryStore, clock: FakeClock) -> None:
    here = Machine(tmp_path / "here", store, clock)
    for number in range(5):
        here.journal.note(KEY, {"attempt": number})
    here.begin()
    there = Machine(tmp_path / "there", store, clock)
    there.journal.replace(here.journal.records(after=0, most=3), (), ())
    there.begin()
    assert told(there.journal) == told(here.journal)


class Together(MemoryStore):
    """Other threads read three listings at a time, or none; the largest is left to who streams it."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(3, timeout=10)

    def read(self, key: str) -> bytes:
        if "/listings/" in key and threading.current_thread() is not threading.main_thread():
            assert not key.endswith("/1")
            self.barrier.wait()
        return super().read(key)


def test_listings_are_read_side_by_side_and_large_ones_in_pieces(tmp_path: Path, clock: FakeClock) -> None:
    store = Together()
    here = Machine(tmp_path / "here", store, clock).begin()
    here.journal.freeze(1, [Segment(3, 2, 5)], map(binlog, range(2000)))
    for number in (2, 3, 4):
        here.journal.freeze(number, [Segment(number, 2, 5)], [replace(binlog(number), collection_id=number)])
    here.journal.add(KEY, StepEvent.STARTED)
    there = Machine(tmp_path / "there", store, clock)
    restore(store, FOLDER, there.journal)
    for number in (1, 2, 3, 4):
        assert there.journal.totals(number) == here.journal.totals(number)
    assert list(there.journal.binlogs(1)) == list(here.journal.binlogs(1))
