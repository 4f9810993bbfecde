"""A run's journal in the staging bucket (`state: staging`), so that another machine can go on with it.

Under `<folder>/<run>/`: `run.json` as the run's start froze it; `entries/<number>`, the journal entries from there on
that were noted together, created and never overwritten; `listings/<collection>`, the frozen listing, written before the
entry that says it is frozen; and `copied/<collection>/…`, what was copied, noted now and then. An entry is in the
bucket before the call that noted it returns: so an intention is durable there before its request leaves. Where another
process wrote an object of the same number, the run went on elsewhere, and this one stops: each begins where the one
before it ends.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from migrator.errors import LockHeld, ObjectMissing, RunError, StoreError
from migrator.running.retry import Patience
from migrator.running.runs import is_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeVar

    from migrator.errors import MigratorError
    from migrator.model.segment import StoredObject
    from migrator.ports.clock import Clock
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.running.journal import Journal
    from migrator.running.retry import RetryPolicy
    from migrator.running.runs import Run, StateDirectory

    S = TypeVar("S")
    T = TypeVar("T")

RUN_FILE = "run.json"
_PART_BYTES = 8 * 1024**2
_COPIED_EVERY_S = 2.0
_READERS = 64
"""Objects are read side by side: most hold an entry or two, and take as long as the store's answer."""
_AHEAD = 2 * _READERS
_SMALL_BYTES = 64 * 1024
"""Larger listings are streamed one after the other, as memory has to stay flat."""
_TOGETHER = 500
"""Entries in one object at most."""


class JournalMirror:
    """What a journal tells of itself while a run is on; the leases of the run are held."""

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        *,
        policy: RetryPolicy,
        clock: Clock,
        on_wait: Callable[[MigratorError, float], None],
    ) -> None:
        self._store = store
        self._folder = folder
        self._on_wait = on_wait
        self._policy = policy
        self._clock = clock
        self._guard = threading.Lock()
        self._copied: dict[int, list[str]] = {}
        self._copied_at = clock.monotonic()
        self._chunks = 0
        self.sent = 0
        """The number of the last entry that is known to be in the bucket."""

    def begin(self, run: Run, journal: Journal) -> None:
        """Bring journal and bucket to one state, whichever is ahead, and keep them so from here on.

        Raises:
            RunError: The bucket could not be read or written within the retry budget.
        """
        self._patiently(
            lambda: self._store.write(f"{self._folder}/{RUN_FILE}", run.file.read_bytes(), create_only=True)
        )
        mirrored = self._patiently(lambda: last_number(self._store, self._folder))
        own = journal.last_number()
        common = min(mirrored, own)
        is_same_history = not common or journal.record(common) == self._patiently(
            lambda: _read_entry(self._store, self._folder, common)
        )
        if mirrored > own or not is_same_history:
            self._patiently(lambda: restore(self._store, self._folder, journal))
            own = mirrored
        self.sent = min(mirrored, own)
        journal.attach(self)

    def push(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write entries, in their order, those that come together as one object; durable when this returns."""
        for start in range(0, len(records), _TOGETHER):
            group = records[start : start + _TOGETHER]
            is_late = self._clock.monotonic() - self._copied_at >= _COPIED_EVERY_S
            if is_late or any(record["event"] == "finished" for record in group):
                self._push_copied()
            self._patiently(partial(self._push_entries, group))
            self.sent = group[-1]["number"]

    def put_listing(self, collection_id: int, lines: Callable[[], Iterable[str]]) -> None:
        """Write a frozen listing, from its first line again after an outage; what was copied before counts no more."""
        with self._guard:
            self._copied.pop(collection_id, None)

        def put() -> None:
            chunks = self._store.list_objects(f"{self._folder}/copied/{collection_id}")
            self._store.delete([chunk.key for chunk in chunks])
            key = f"{self._folder}/listings/{collection_id}"
            self._store.write_stream(key, _in_parts(lines()), multipart=True, part_size=_PART_BYTES)

        self._patiently(put)

    def note_copied(self, collection_id: int, suffixes: Iterable[str]) -> None:
        """Remember what was copied; written with a later entry, or after a while: what is not known is copied again."""
        with self._guard:
            self._copied.setdefault(collection_id, []).extend(suffixes)
        if self._clock.monotonic() - self._copied_at >= _COPIED_EVERY_S:
            self._push_copied()

    # -- writing ----------------------------------------------------------------------------------------------------

    def _push_entries(self, group: Sequence[Mapping[str, Any]]) -> None:
        key = _entry_key(self._folder, group[0]["number"])
        content = "\n".join(map(json.dumps, group)).encode()
        if not self._store.write(key, content, create_only=True) and self._store.read(key) != content:
            raise LockHeld(
                "the run went on elsewhere: its journal in the staging bucket is ahead of this one",
                hint="see who resumed it; migrator apply --resume takes up what was done there",
            )

    def _push_copied(self) -> None:
        with self._guard:  # steps note copies side by side
            taken, self._copied = self._copied, {}
            self._copied_at = self._clock.monotonic()
            self._chunks += 1
            chunk = f"{self.sent:010d}-{self._chunks:06d}"
        for collection_id, suffixes in taken.items():
            key = f"{self._folder}/copied/{collection_id}/{chunk}"
            self._patiently(partial(self._store.write, key, "\n".join(suffixes).encode()))

    def _patiently(self, call: Callable[[], T]) -> T:
        """An outage of the store is waited out here: whoever notes something cannot go on without it."""
        try:
            return Patience(self._policy, self._clock).call(call, on_wait=self._on_wait)
        except StoreError as error:
            raise RunError(
                f"the journal's mirror in the staging bucket cannot be used: {error.message}",
                hint=error.hint or "run migrator apply --resume once the store is up",
            ) from error


# -- reading ----------------------------------------------------------------------------------------------------------


def mirrored_runs(store: ObjectReader, folder: str) -> tuple[str, ...]:
    """The ids of the runs that are mirrored below a plan's folder; folders of other names are nobody's run."""
    return tuple(name for name in store.list_folders(folder) if is_run_id(name))


def adopt(store: ObjectReader, folder: str, state: StateDirectory, known: StateDirectory) -> None:
    """Take the plan's mirrored runs into `state`, as far as the bucket is ahead of what is known already.

    One of which no step was begun is left where it is: nothing has to be gone on with.
    """
    numbers = known.last_numbers()
    for run_id in mirrored_runs(store, folder):
        place = f"{folder}/{run_id}"
        if last_number(store, place) <= numbers.get(run_id, 0):
            continue
        with suppress(ObjectMissing):
            run = state.adopt(run_id, store.read(f"{place}/{RUN_FILE}"))
            with state.journal(run, read_only=False) as journal:
                restore(store, place, journal)
            state.discard_unstarted(run)


def last_number(store: ObjectReader, folder: str) -> int:
    """The number of the last entry that a run has in the bucket, 0 where it has none."""
    last = max(_entry_keys(store, folder), default=None)
    return 0 if last is None else _first_number(last) + len(store.read(last).splitlines()) - 1


def _entry_keys(store: ObjectReader, folder: str) -> list[str]:
    return sorted(entry.key for entry in store.list_objects(f"{folder}/entries"))


def _first_number(key: str) -> int:
    return int(key.rpartition("/")[2])


def _read_entry(store: ObjectReader, folder: str, number: int) -> dict[str, Any]:
    """One that is there, out of the object that holds it."""
    key = max(key for key in _entry_keys(store, folder) if _first_number(key) <= number)
    entry: dict[str, Any] = json.loads(store.read(key).splitlines()[number - _first_number(key)])
    return entry


def restore(store: ObjectReader, folder: str, journal: Journal) -> None:
    """Make the journal what the bucket says it is."""
    keys = _entry_keys(store, folder)
    with ThreadPoolExecutor(_READERS) as pool:
        lines = chain.from_iterable(content.splitlines() for content in _ahead(pool, store.read, keys))
        listings = list(store.list_objects(f"{folder}/listings"))
        copied = list(store.list_objects(f"{folder}/copied"))
        journal.replace(
            map(json.loads, lines),
            ((int(key.rpartition("/")[2]), told) for key, told in _texts(pool, store, listings)),
            ((int(key.split("/")[-2]), told) for key, told in _texts(pool, store, copied)),
        )


def _texts(
    pool: ThreadPoolExecutor, store: ObjectReader, found: Sequence[StoredObject]
) -> Iterator[tuple[str, Iterable[str]]]:
    """The key of each, and its lines; what is small is read ahead of its turn."""

    def read(entry: StoredObject) -> Iterable[str] | None:
        return _whole_lines(store.read(entry.key)) if entry.size_bytes <= _SMALL_BYTES else None

    for entry, told in zip(found, _ahead(pool, read, found), strict=True):
        yield entry.key, _lines(store, entry.key) if told is None else told


def _ahead(pool: ThreadPoolExecutor, read: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What is read of each, in their order: so many are on their way or wait for their turn, and no more."""
    left = iter(items)
    waiting = deque(pool.submit(read, item) for item in islice(left, _AHEAD))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(read, item) for item in islice(left, 1))


def _entry_key(folder: str, number: int) -> str:
    return f"{folder}/entries/{number:010d}"


def _in_parts(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines gathered into parts of a megabyte or so."""
    gathered: list[str] = []
    length = 0
    for line in lines:
        gathered.append(f"{line}\n")
        length += len(line)
        if length >= 1024**2:
            yield "".join(gathered).encode()
            gathered, length = [], 0
    yield "".join(gathered).encode()


def _whole_lines(content: bytes) -> list[str]:
    return [line.decode() for line in content.split(b"\n") if line]


def _lines(store: ObjectReader, key: str) -> Iterator[str]:
    rest = b""
    for part in store.stream(key, part_size=1024**2):
        *whole, rest = (rest + part).split(b"\n")
        yield from (line.decode() for line in whole if line)
    if rest:
        yield rest.decode()
