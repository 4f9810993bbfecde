"""Undoing a run: what it created goes, as far as it is still as the run left it; the rest only by force.

Everything is looked at before anything is dropped, and each removal can be repeated: a rollback that was killed is done
again, and ends the same. Aliases go first, then roles, collections, databases, and what the run copied into its dump.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from migrator.errors import ImportStalled, Interrupted, LockHeld, MigratorError, MilvusError, MilvusRefused, RunError
from migrator.model.collection import CollectionRef, LoadState
from migrator.model.import_job import ImportState
from migrator.model.segment import SegmentState
from migrator.model.timestamps import physical_ms
from migrator.running.dump_share import DumpShare
from migrator.running.forward_share import ForwardShare
from migrator.running.journal import StepEvent
from migrator.running.predecessors import Predecessors
from migrator.running.retry import Patience, RetryPolicy
from migrator.running.rollback_access import AccessShare, RoleShare
from migrator.running.snapshot_share import SnapshotShare
from migrator.steps.create_collection import CreateCollection, noted_id
from migrator.steps.create_database import CreateDatabase, is_own_database
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.drop_snapshot import drop_and_look
from migrator.steps.flush import flush_and_wait
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_segments import sent_requests
from migrator.steps.sent_jobs import find_sent, own_jobs, settle_s, waiting_jobs
from migrator.steps.switch_alias import SwitchAlias, former_owners
from migrator.steps.transfer import PIECES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from migrator.model.collection import Collection
    from migrator.model.import_job import ImportJob, SentRequest
    from migrator.model.segment import StoredObject
    from migrator.ports.clock import Clock
    from migrator.ports.lease import Lease
    from migrator.ports.milvus import MilvusSource, MilvusTarget
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.running.journal import Journal
    from migrator.running.runs import Run
    from migrator.running.snapshot_share import TakenSnapshot
    from migrator.steps.retire_predecessor import RetirePredecessor

T = TypeVar("T")

FRESH_S = 5.0
"""What was looked at longer ago is looked at again before it is dropped."""
CREATION_SETTLES_S = 30.0
"""How long a collection whose creation was under way when the run was killed may still turn up."""
_POLL_S = 0.5
_POLICY = RetryPolicy(max_elapsed_s=120.0, max_backoff_s=5.0)
_UNDER_WAY = {ImportState.PENDING, ImportState.RUNNING}
_NO_SEGMENT = {SegmentState.DROPPED, SegmentState.NOT_EXIST}


def no_source() -> MilvusSource:
    """Of a run that took no snapshots: there is nothing at the source."""
    raise AssertionError("a source was asked for that nothing is left at")


class Kind(StrEnum):
    """What a run leaves behind."""

    COLLECTION = "collection"
    DATABASE = "database"
    DUMP = "dump"
    IMPORTS = "files for imports"
    """What the run brought to the target's store and has not deleted yet."""
    PREDECESSOR = "predecessor"
    """A collection that the run replaced: it is not removed, but gets its name back."""
    ROLE = "role"
    SNAPSHOT = "snapshot"
    """One at the source, which is changed in nothing else."""
    RIGHTS = "rights of role"
    """What a run added to a role that was there before."""


class Verdict(StrEnum):
    """What shall become of something that a run created."""

    GONE = "gone"
    """It is not there any more."""
    REMOVE = "remove"
    """It is as the run left it."""
    RESTORE = "restore"
    """A predecessor that is still kept."""
    FORCE = "needs force"
    """It is not as the run left it, or cannot be told: it goes only with `--force`."""
    KEEP = "kept"
    """It stays, and that is as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remnant:
    """Something that a run created, and what was found of it; `aliases` are all that point at a collection."""

    kind: Kind
    name: str
    verdict: Verdict
    reason: str
    ref: CollectionRef | None = None
    collection_id: int = 0
    aliases: tuple[str, ...] = ()

    def goes(self, *, force: bool) -> bool:
        """Whether a rollback removes it, or gives it its name back."""
        return self.verdict in {Verdict.REMOVE, Verdict.RESTORE} or (force and self.verdict is Verdict.FORCE)


class Fate(StrEnum):
    """What became of a remnant."""

    REMOVED = "removed"
    RESTORED = "restored"
    GONE = "gone"
    KEPT = "kept"
    LEFT_ALONE = "left alone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """One remnant's end; `message` says why it failed."""

    remnant: Remnant
    fate: Fate
    message: str = ""


def is_rolled_back(endings: Iterable[Ending]) -> bool:
    """Whether nothing is left to do."""
    return all(ending.fate not in {Fate.LEFT_ALONE, Fate.FAILED} for ending in endings)


class Rollback:
    """The rollback of one run. The plan's local lock and the run's leases are held.

    `imports` is the store that the target imports from, None where that is staging; `tell` hears what is waited for.
    `open_source` is only called where the run took snapshots there.
    """

    def __init__(
        self,
        run: Run,
        journal: Journal,
        target: MilvusTarget,
        staging: ObjectStore,
        *,
        imports: ObjectStore | None = None,
        lease: Lease,
        clock: Clock,
        tell: Callable[[str], None],
        open_source: Callable[[], MilvusSource] = no_source,
    ) -> None:
        self._run = run
        self._journal = journal
        self._target = target
        self._staging = staging
        self._imports = imports or staging
        self._forwarded = ForwardShare.of(run)
        self._lease = lease
        self._clock = clock
        self._tell = tell
        self._predecessors = Predecessors(run, journal, target, lease=lease, clock=clock)
        self._access = AccessShare(run.plan.steps, journal)
        self._snapshots = SnapshotShare(run.plan.steps, journal)
        self._open_source = open_source
        self._creations = [step for step in run.plan.steps if isinstance(step, CreateCollection)]

    # -- looking ----------------------------------------------------------------------------------------------------

    def survey(self) -> list[Remnant]:
        """Everything the run created and what is found of it; waits for its imports to end, and drops nothing.

        What grows in its collections is flushed, so that it can be seen.
        """
        self._wait_for_requests()
        asked = [step for step in self._creations if self._was_requested(step)]
        self._wait_for_renames()
        there = {step.target: found for step in asked if (found := self._find(self._place(step.target))) is not None}
        faults = self._flush(
            [there[step.target].ref for step in asked if self._may_be_own(step, there.get(step.target))]
        )
        collections = [self._collection(step, there.get(step.target), faults) for step in asked]
        replaced = self._replaced(collections)
        roles = [self._role(share) for share in self._patiently(lambda: self._access.shares(self._target))]
        kept = [*self._snapshots_left(), *self._dump(), *self._files()]
        return [*replaced, *roles, *collections, *self._databases(collections), *kept]

    def _place(self, built_as: CollectionRef) -> CollectionRef:
        return self._patiently(lambda: self._predecessors.place(built_as))

    def _was_requested(self, step: CreateCollection) -> bool:
        return "absent_ts" in self._journal.notes(step.key)

    def _find(self, ref: CollectionRef) -> Collection | None:
        if ref.database not in self._patiently(self._target.list_databases):
            return None
        return self._patiently(lambda: self._target.find_collection(ref))

    def _may_be_own(self, step: CreateCollection, found: Collection | None) -> bool:
        own = noted_id(self._journal, step.target)
        return found is not None and own in {None, found.collection_id}

    def _flush(self, refs: Sequence[CollectionRef]) -> dict[CollectionRef, str]:
        """Seal what grows; where that is refused, the reason, collection by collection."""
        faults: dict[CollectionRef, str] = {}
        for _, group in groupby(sorted(refs), key=lambda ref: ref.database):
            together = list(group)
            try:
                self._flush_together(together)
            except MilvusRefused:
                for ref in together:
                    try:
                        self._flush_together([ref])
                    except MilvusRefused as error:
                        faults[ref] = error.message
        return faults

    def _flush_together(self, refs: Sequence[CollectionRef]) -> None:
        self._patiently(lambda: flush_and_wait(self._target, refs, self._clock))

    def _collection(
        self, step: CreateCollection, found: Collection | None, faults: dict[CollectionRef, str]
    ) -> Remnant:
        own = noted_id(self._journal, step.target)
        if found is None or self._was_removed(Kind.COLLECTION, str(step.target)):
            reason = "dropped" if self._was_removed(Kind.COLLECTION, str(step.target)) else "not there"
            return self._remnant(step, Verdict.GONE, reason)
        if own is not None and own != found.collection_id:
            rows = self._rows_in_words(found)
            reason = f"somebody dropped it and created another one of this name, which holds {rows}"
            return self._remnant(step, Verdict.FORCE, f"{reason}: they would be lost", found)
        try:
            if own is None:
                self._require_ours(step, found)
            difference = (
                faults.get(found.ref)
                or self._difference(step.target, found)
                or self._patiently(lambda: self._predecessors.loss(step.target))
            )
        except (MilvusRefused, RunError) as error:
            difference = error.message
        if difference:
            return self._remnant(step, Verdict.FORCE, difference, found)
        returns = [
            f"; the alias {alias} goes back to {ref.name}" for alias, ref in self._returns(step.target, found).items()
        ]
        reason = f"{self._rows_in_words(found)}, as this run left it{''.join(returns)}"
        return self._remnant(step, Verdict.REMOVE, reason, found)

    def _remnant(
        self, step: CreateCollection, verdict: Verdict, reason: str, found: Collection | None = None
    ) -> Remnant:
        return Remnant(
            kind=Kind.COLLECTION,
            name=(step.target if found is None else found.ref).short,
            verdict=verdict,
            reason=reason,
            ref=step.target,
            collection_id=found.collection_id if found is not None else 0,
            aliases=tuple(sorted({*found.aliases} - self._predecessors.followed(step.target))) if found else (),
        )

    def _require_ours(self, step: CreateCollection, found: Collection) -> None:
        absent_ts = self._journal.notes(step.key)["absent_ts"]
        if not isinstance(absent_ts, int):
            raise TypeError(absent_ts)
        self._patiently(lambda: step.require_ours(self._target, found, absent_ts))

    def _difference(self, ref: CollectionRef, found: Collection) -> str:
        """How the collection differs from what the run left, and what would be lost; empty where it does not."""
        if strange := sorted(set(found.aliases) - self._own_aliases(ref)):
            noun = "an alias" if len(strange) == 1 else "aliases"
            return f"somebody gave it {noun}, {', '.join(strange)}, which would be lost"
        brought = self._brought(ref)
        if brought is None:
            rows = self._rows_in_words(found)
            return f"the target no longer remembers what was imported, so its {rows} may be of others"
        inserted = self._inserted(found.ref)
        counted = self._counted(found)
        if counted is not None and counted < brought and not self._snapshots.is_restored(ref):
            return f"it holds {_counted(counted, 'row')}, and this run brought {brought:,}: somebody deleted some"
        more = max(inserted, counted or 0) - brought
        if more > 0:
            return (
                f"somebody wrote {_counted(more, 'row')} to it beside the {brought:,} of this run, which would be lost"
            )
        return ""

    def _own_aliases(self, built_as: CollectionRef) -> set[str]:
        ref = self._predecessors.name_of(built_as)
        steps = [step for step in self._run.plan.steps if isinstance(step, SwitchAlias) and step.target == ref]
        own = {alias for step in steps if self._journal.was_started(step.key) for alias in step.aliases}
        return own | self._predecessors.followed(built_as)

    def _returns(self, built_as: CollectionRef, found: Collection) -> dict[str, CollectionRef]:
        """Of the aliases that point at the collection, those this run took from one that is still there."""
        returns = {}
        for alias, owner in former_owners(self._journal, self._predecessors.name_of(built_as)).items():
            before = self._find(owner.ref) if alias in found.aliases else None
            if before is not None and before.collection_id == owner.collection_id:
                returns[alias] = owner.ref
        return returns

    def _brought(self, ref: CollectionRef) -> int | None:
        """The rows that the run's import jobs or restore brought; None where the target has forgotten one."""
        total = self._snapshots.brought(ref) if self._snapshots.is_restored(ref) else 0
        for request in sent_requests(self._journal, ref, self._run.run_id):
            if request.rows is not None and request.is_committed:
                total += request.rows
            elif (job := self._find_job(ref, request)) is not None:
                total += job.rows if job.state is ImportState.COMPLETED else 0
            elif request.job_id is not None:
                return None
        return total

    def _find_job(self, ref: CollectionRef, request: SentRequest) -> ImportJob | None:
        if request.job_id is not None:
            job_id = request.job_id
            return self._patiently(lambda: self._target.find_import_job(ref, job_id))
        return self._patiently(lambda: find_sent(self._target, ref, request))[0]

    def _waiting_jobs(self, ref: CollectionRef) -> list[ImportJob]:
        return self._patiently(lambda: waiting_jobs(self._target, ref))

    def _inserted(self, ref: CollectionRef) -> int:
        segments = self._patiently(lambda: self._target.list_segments(ref))
        return sum(each.num_rows for each in segments if each.state not in _NO_SEGMENT and not each.is_l0)

    def _counted(self, found: Collection) -> int | None:
        """`count(*)`, where every partition is loaded."""
        loaded = set(found.loaded_partitions) == {partition.name for partition in found.partitions}
        if found.load_state is not LoadState.LOADED or not loaded:
            return None
        return self._patiently(lambda: self._target.count_rows(found.ref))

    def _rows_in_words(self, found: Collection) -> str:
        try:
            counted = self._counted(found)
            return _counted(self._inserted(found.ref) if counted is None else counted, "row")
        except MilvusRefused:
            return "rows that could not be counted"

    # -- predecessors -----------------------------------------------------------------------------------------------

    def _replaced(self, collections: Sequence[Remnant]) -> list[Remnant]:
        """The predecessors of collections; each goes the way of the one that took its name."""
        own = {remnant.ref: remnant for remnant in collections}
        asked = self._predecessors.asked()
        return [found for step in asked if (found := self._predecessor(step, own.get(step.temporary))) is not None]

    def _predecessor(self, step: RetirePredecessor, own: Remnant | None) -> Remnant | None:
        found = self._patiently(lambda: self._predecessors.heritage(step))
        name = step.retired.short
        if found.old is None:
            reason = f"cannot get its name back: {self._predecessors.fate(step)} it"
            return Remnant(kind=Kind.PREDECESSOR, name=name, verdict=Verdict.GONE, reason=reason, ref=step.temporary)
        if found.is_undone and not self._patiently(lambda: self._predecessors.missing_aliases(step, found)):
            return None
        verdict, reason = Verdict.RESTORE, f"gets its name back: {step.target.short}"
        if aliases := step.aliases(self._journal):
            reason = f"{reason}, with {', '.join(aliases)}"
        if found.holder is not None and found.holder not in (found.old, found.own):
            verdict, reason = Verdict.FORCE, f"{step.target.short} is another collection by now; rename that first"
        elif found.is_done and own is not None and own.verdict is Verdict.FORCE:
            verdict, reason = Verdict.FORCE, f"{step.target.short} has its name, and is not as this run left it"
        return Remnant(kind=Kind.PREDECESSOR, name=name, verdict=verdict, reason=reason, ref=step.temporary)

    # -- roles, databases and the dump --------------------------------------------------------------------------------

    def _role(self, share: RoleShare) -> Remnant:
        kind = Kind.ROLE if share.is_own else Kind.RIGHTS
        verdict, reason = Verdict.REMOVE, f"{share.in_words}, added by this run"
        if self._was_removed(kind, share.role):
            verdict, reason = Verdict.GONE, "dropped"
        elif not share.found and not share.foreign:
            verdict, reason = Verdict.GONE, "not there"
        elif share.foreign:
            verdict, reason = Verdict.FORCE, f"somebody gave it {share.foreign_in_words}, which would be lost"
        return Remnant(kind=kind, name=share.role, verdict=verdict, reason=reason)

    def _databases(self, collections: Sequence[Remnant]) -> Iterator[Remnant]:
        own = {remnant.ref for remnant in collections}
        steps = [step for step in self._run.plan.steps if isinstance(step, CreateDatabase)]
        asked = [step for step in steps if is_own_database(self._journal, step.name)]
        existing = set(self._patiently(self._target.list_databases)) if asked else set()
        for step in asked:
            name = step.name
            if name not in existing or self._was_removed(Kind.DATABASE, name):
                reason = "dropped" if self._was_removed(Kind.DATABASE, name) else "not there"
                yield Remnant(kind=Kind.DATABASE, name=name, verdict=Verdict.GONE, reason=reason)
                continue
            names = self._patiently(partial(self._target.list_collections, name))
            others = [each for each in names if CollectionRef(name, each) not in own]
            verdict = Verdict.KEEP if others else Verdict.REMOVE
            reason = f"it holds {_listed(others)}" if others else "created by this run"
            yield Remnant(kind=Kind.DATABASE, name=name, verdict=verdict, reason=reason)

    def _snapshots_left(self) -> Iterator[Remnant]:
        """At the source, which is asked for nothing else."""
        for taken in self._snapshots.taken():
            verdict, reason = Verdict.REMOVE, "taken by this run; it keeps files from the source's garbage collection"
            try:
                if not self._is_snapshot_there(taken):
                    verdict, reason = Verdict.GONE, "not there"
            except MilvusError as error:
                verdict, reason = Verdict.FORCE, f"it cannot be looked for, and by force it is left: {error.message}"
            yield Remnant(kind=Kind.SNAPSHOT, name=taken.label, verdict=verdict, reason=reason)

    def _is_snapshot_there(self, taken: TakenSnapshot) -> bool:
        """One whose creation was under way when the run was killed is given the time to turn up."""
        source, deadline = self._open_source(), self._clock.monotonic() + CREATION_SETTLES_S * taken.may_come
        while self._patiently(partial(source.find_snapshot, taken.source, taken.name)) is None:
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                return False
            self._tell(f"waiting {left_s:.0f} s for a snapshot of {taken.source.short} that may be under way")
            self._clock.sleep(min(left_s, 2.0))
        return True

    def _dump(self) -> Iterator[Remnant]:
        share = self._patiently(lambda: DumpShare.find(self._staging, self._run))
        if share is None:
            return
        name = self._run.plan.dump
        if share.unlisted:
            reason = self._patiently(lambda: _share_in_words(self._staging, share))
            yield Remnant(kind=Kind.DUMP, name=name, verdict=Verdict.REMOVE, reason=reason)
        if share.listed:
            what = f"what it lists of this run stays ({_listed(share.listed)})" if share.unlisted else "it is finished"
            reason = (
                f"{what}; choose another staging.backup_name for the next run, or remove it with migrator backup delete"
            )
            yield Remnant(kind=Kind.DUMP, name=name, verdict=Verdict.KEEP, reason=reason)

    def _files(self) -> Iterator[Remnant]:
        share = self._forwarded
        if share is None:
            return
        reason = self._patiently(lambda: _objects_in_words(share.objects(self._imports)))
        if reason := reason or ("unfinished uploads" if self._may_hold_pieces() else ""):
            name = f"{self._imports.place}/{share.prefix}"
            yield Remnant(kind=Kind.IMPORTS, name=name, verdict=Verdict.REMOVE, reason=reason)

    def _may_hold_pieces(self) -> bool:
        """Whether a write that was killed may have left parts of an object at the target's store."""
        steps = self._run.plan.steps
        swept = {
            step.collection for step in steps if isinstance(step, DropForwarded) and self._journal.is_finished(step.key)
        }
        return any(
            self._journal.notes(step.key).get(PIECES)
            for step in steps
            if isinstance(step, ForwardSegments) and step.collection not in swept
        )

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _wait_for_requests(self) -> None:
        """Until no import job or restore of the run is under way, and none can turn up late."""
        self._wait_for_restores()
        self._wait_for_creations()
        settled_at = self._clock.monotonic() + self._unsettled_s()
        looks: dict[int, tuple[ImportState, int]] = {}
        moved_at = self._clock.monotonic()
        stall_s = self._run.loaded.options.import_.stall_timeout
        while True:
            now = self._clock.monotonic()
            jobs = [job for job in self._all_jobs() if job.state in _UNDER_WAY]
            if not jobs and now >= settled_at:
                return
            seen = {job.job_id: (job.state, job.progress_percent) for job in jobs}
            if seen != looks:
                looks, moved_at = seen, now
            if jobs and now - moved_at > stall_s:
                raise ImportStalled(
                    f"import job {jobs[0].job_id} of this run has not moved for {stall_s / 60:.0f} minutes",
                    hint=f"look at the target's data nodes, then run migrator rollback {self._run.run_id} again",
                )
            self._tell(
                f"waiting for {_counted(len(jobs), 'import job')} of this run to end"
                if jobs
                else f"waiting {settled_at - now:.0f} s for an import request whose reply was lost"
            )
            self._clock.sleep(_POLL_S)

    def _wait_for_restores(self) -> None:
        """How long one may take, is the target's affair: it is waited for as long as somebody has the patience."""
        left_s = self._patiently(lambda: self._snapshots.unsettled_s(self._target, self._clock))
        settled_at = self._clock.monotonic() + left_s
        while True:
            jobs = self._patiently(lambda: self._snapshots.under_way(self._target))
            left_s = settled_at - self._clock.monotonic()
            if not jobs and left_s <= 0:
                return
            self._tell(
                f"waiting for {_counted(len(jobs), 'restore')} of this run to end"
                if jobs
                else f"waiting {left_s:.0f} s for a restore whose reply was lost"
            )
            self._clock.sleep(_POLL_S)

    def _wait_for_creations(self) -> None:
        """A run that was killed in a creation: the collection may still turn up."""
        for step in self._creations:
            last = self._journal.last_event(step.key)
            absent_ts = self._journal.notes(step.key).get("absent_ts")
            if last is None or last.event is not StepEvent.STARTED or not isinstance(absent_ts, int):
                continue
            while noted_id(self._journal, step.target) is None and self._find(step.target) is None:
                left_s = CREATION_SETTLES_S - self._age_s(absent_ts)
                if left_s <= 0:
                    break
                self._tell(f"waiting {left_s:.0f} s for a creation of {step.target.short} that may be under way")
                self._clock.sleep(min(left_s, 2.0))

    def _wait_for_renames(self) -> None:
        """A run that was killed in a rename: it may still come about."""
        for step in self._predecessors.asked():
            while (left_s := self._patiently(partial(self._predecessors.unsettled_s, step))) > 0:
                self._tell(f"waiting {left_s:.0f} s for a rename of {step.target.short} that may be under way")
                self._clock.sleep(min(left_s, 2.0))

    def _unsettled_s(self) -> float:
        """How long an import request whose reply was lost may still turn up as a job."""
        left = [0.0]
        for step in self._creations:
            for request in sent_requests(self._journal, step.target, self._run.run_id):
                is_lost = request.rows is None and request.job_id is None
                if not is_lost or self._find(step.target) is None or self._find_job(step.target, request) is not None:
                    continue
                by_ours = self._clock.now().timestamp() - request.intent_at
                age_s = min(self._age_s(request.intent_ts), by_ours)
                patience_s = settle_s(self._target)  # asked here only: a backup has no target to ask
                left.append(min(patience_s, patience_s - age_s))
        return max(left)

    def _age_s(self, since_ts: int) -> float:
        now_ts = self._patiently(self._target.allocate_timestamp)
        return (physical_ms(now_ts) - physical_ms(since_ts)) / 1000

    def _all_jobs(self) -> Iterator[ImportJob]:
        if not self._creations:  # a run that only made a backup has no target
            return
        databases = set(self._patiently(self._target.list_databases))
        refs = [step.target for step in self._creations if step.target.database in databases]
        yield from self._patiently(lambda: own_jobs(self._target, refs, self._run.run_id))

    def _patiently(self, call: Callable[[], T]) -> T:
        def say(error: MigratorError, seconds: float) -> None:
            self._tell(f"trying again in {seconds:.0f} s: {error.message}")

        return Patience(_POLICY, self._clock).call(call, on_wait=say)

    # -- removing ---------------------------------------------------------------------------------------------------

    def carry_out(self, remnants: Sequence[Remnant], *, force: bool, on_end: Callable[[Ending], None]) -> list[Ending]:
        """Remove what goes, and note the end of the rollback if nothing is left to do.

        What fails is in the result; the others go on.
        """
        going = [remnant for remnant in remnants if remnant.goes(force=force)]
        if going:
            self._journal.add("", StepEvent.ROLLBACK_STARTED)
        endings = {remnant: Ending(remnant=remnant, fate=_UNTOUCHED[remnant.verdict]) for remnant in remnants}
        failed = {remnant: message for remnant in going if (message := self._attempt(self._drop_aliases, remnant))}
        for remnant in remnants:
            if remnant in going:
                endings[remnant] = self._end(remnant, failed.get(remnant, ""))
            elif remnant.kind is Kind.DUMP and (failure := self._attempt(self._give_up_claim, remnant)):
                endings[remnant] = Ending(remnant=remnant, fate=Fate.FAILED, message=failure)
            if remnant.kind is Kind.PREDECESSOR and endings[remnant].fate is Fate.FAILED:
                failed |= dict.fromkeys(_successors(remnant, going), "what it replaced has not got its name back")
            on_end(endings[remnant])
        if is_rolled_back(endings.values()):
            self._journal.add("", StepEvent.ROLLED_BACK)
        return list(endings.values())

    def _end(self, remnant: Remnant, failure: str) -> Ending:
        if remnant.kind is Kind.DATABASE and (names := self._left_in(remnant.name)):
            return Ending(remnant=remnant, fate=Fate.LEFT_ALONE, message=f"it still holds {_listed(names)}")
        failure = failure or self._attempt(self._remove, remnant)
        done = Fate.RESTORED if remnant.kind is Kind.PREDECESSOR else Fate.REMOVED
        return Ending(remnant=remnant, fate=Fate.FAILED if failure else done, message=failure)

    def _attempt(self, call: Callable[[Remnant], None], remnant: Remnant) -> str:
        """What it failed of, if it did."""
        try:
            self._patiently(lambda: call(remnant))
        except (Interrupted, LockHeld):
            raise
        except MigratorError as error:
            return error.message
        return ""

    def _drop_aliases(self, remnant: Remnant) -> None:
        """A moved alias goes back where it was; it is on one collection or the other at any moment."""
        if remnant.ref is None or remnant.kind is not Kind.COLLECTION:
            return
        found = self._find(self._predecessors.place(remnant.ref))
        if found is None or found.collection_id != remnant.collection_id:
            return
        returns = self._returns(remnant.ref, found)
        for alias in found.aliases:
            self._lease.require_held(remnant.ref)
            if alias in returns:
                self._target.alter_alias(returns[alias], alias)
            elif alias in remnant.aliases:
                self._target.drop_alias(found.ref, alias)

    def _remove(self, remnant: Remnant) -> None:
        """Drop it, and note that once it is seen: what stands there later is not the run's."""
        if remnant.kind is Kind.DUMP:
            self._wait_for_requests()  # nobody reads what is deleted
            self._lease.require_dump_held()
            if (share := DumpShare.find(self._staging, self._run)) is not None:
                share.remove(self._staging)
            return
        if remnant.kind is Kind.IMPORTS:
            self._wait_for_requests()
            if self._forwarded is not None:
                self._forwarded.remove(self._imports)
            return
        if remnant.kind in {Kind.SNAPSHOT, Kind.PREDECESSOR}:
            self._give_back(remnant)
            return
        if remnant.ref is not None:
            self._lease.require_held(remnant.ref)
            self._drop(self._predecessors.place(remnant.ref), remnant.collection_id)
        elif remnant.kind in {Kind.ROLE, Kind.RIGHTS}:
            self._access.remove(self._target, remnant.name, force=remnant.verdict is Verdict.FORCE)
        else:
            self._target.drop_database(remnant.name)
        self._journal.note(_removal_key(remnant.kind, str(remnant.ref or remnant.name)), {"removed": True})

    def _drop(self, ref: CollectionRef, collection_id: int) -> None:
        """Drop the collection, and before it what waits to be committed to it."""
        self._require_unchanged(ref, collection_id)
        for job in self._waiting_jobs(ref):
            self._target.abort_import(ref, job.job_id)
        self._target.drop_collection(ref)

    def _give_up_claim(self, _: Remnant) -> None:
        """A finished dump is no run's any more: its files alone keep others from its place."""
        share = DumpShare.find(self._staging, self._run)
        if share is not None and not share.unlisted:
            self._lease.require_dump_held()
            share.remove(self._staging)

    def _require_unchanged(self, ref: CollectionRef, collection_id: int) -> None:
        found = self._target.find_collection(ref)
        if found is not None and found.collection_id != collection_id:
            raise RunError(f"{ref.short} became another collection meanwhile")

    def _give_back(self, remnant: Remnant) -> None:
        """Its files to the source, or its name to what was replaced."""
        for taken in self._snapshots.taken() if remnant.kind is Kind.SNAPSHOT else ():
            if taken.label == remnant.name and remnant.verdict is Verdict.REMOVE:
                drop_and_look(self._open_source(), taken.source, taken.name, self._clock)
        for step in self._predecessors.asked() if remnant.kind is Kind.PREDECESSOR else ():
            if step.temporary == remnant.ref:
                self._predecessors.restore(step)

    def _left_in(self, database: str) -> tuple[str, ...]:
        existing = self._patiently(self._target.list_databases)
        return self._patiently(partial(self._target.list_collections, database)) if database in existing else ()

    def _was_removed(self, kind: Kind, name: str) -> bool:
        return self._journal.notes(_removal_key(kind, name)).get("removed") is True


_UNTOUCHED = {
    Verdict.GONE: Fate.GONE,
    Verdict.KEEP: Fate.KEPT,
    Verdict.FORCE: Fate.LEFT_ALONE,
    Verdict.REMOVE: Fate.LEFT_ALONE,
    Verdict.RESTORE: Fate.LEFT_ALONE,
}


def _successors(predecessor: Remnant, remnants: Iterable[Remnant]) -> list[Remnant]:
    """The run's collections that replaced it: both are known by the name under which these were built."""
    return [each for each in remnants if each.kind is Kind.COLLECTION and each.ref == predecessor.ref]


def _removal_key(kind: Kind, name: str) -> str:
    return f"rollback:{kind}:{name}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _share_in_words(store: ObjectReader, share: DumpShare) -> str:
    rest = " of what it does not list" if share.listed else ", not finished"
    return (_objects_in_words(share.objects(store)) or "0 objects, 0 bytes") + rest


def _objects_in_words(found: Iterable[StoredObject]) -> str:
    """How many, and their bytes; empty where there is none."""
    objects, size_bytes = 0, 0
    for each in found:
        objects, size_bytes = objects + 1, size_bytes + each.size_bytes
    return f"{_counted(objects, 'object')}, {size_bytes:,} bytes" if objects else ""
