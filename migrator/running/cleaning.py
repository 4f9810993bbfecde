"""Leftovers of the runs of one state directory: what nobody will ask for again, and nothing else.

A finished dump is never one, nor is anything of another run or of another state directory. A new kind of leftover is
one more generator in `Cleaning.find`.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from migrator.errors import MigratorError, MilvusError, ObjectMissing
from migrator.model.collection import CollectionRef
from migrator.planning.places import canaries_folder, claims_folder, imports_folder, is_apart
from migrator.running.canary_marker import read_markers, remove_folder, scratch_names
from migrator.running.dump_share import DumpShare
from migrator.running.forward_share import ForwardShare
from migrator.running.journal import StepEvent
from migrator.running.leasing import LeaseHome, PlanStores, place_of
from migrator.running.lock import EXPIRES_S, Holder, LeaseName, find_holder, identity_of
from migrator.running.retired import Retired, retirements
from migrator.steps.dump_claim import read_claims
from migrator.steps.forward_segments import forwarded_prefix
from migrator.steps.seal_dump import find_listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from migrator.ports.clock import Clock
    from migrator.ports.lease import Lease
    from migrator.ports.milvus import MilvusTarget
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.running.canary_marker import Marker
    from migrator.running.runs import Run, StateDirectory
    from migrator.spec.loaded import LoadedPlan
    from migrator.steps.dump_claim import DumpClaim

_RUN_ID = re.compile(r"(?P<plan>.+)-\d{8}T\d{6}Z-[0-9a-f]{4}")
_WATCH_S = EXPIRES_S + 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something found; what does not go is listed with the reason why it stays."""

    kind: str
    name: str
    reason: str
    remove: Callable[[], None] | None = field(default=None, compare=False, repr=False)

    @property
    def goes(self) -> bool:
        """Whether it is deleted."""
        return self.remove is not None


def plan_of(run_id: str) -> str | None:
    """The plan's name in a run's id."""
    found = _RUN_ID.fullmatch(run_id)
    return found["plan"] if found else None


def plans_with_folders(state: StateDirectory) -> set[str]:
    """The names of all plans of which there is a folder, half made ones too."""
    folders = (state.folder / "runs").glob("*/")
    return {name for folder in folders if (name := plan_of(folder.name)) is not None}


def remove_all(leftovers: Iterable[Leftover]) -> Iterator[tuple[Leftover, str]]:
    """Delete what goes; each with what it failed of, which is mostly nothing."""
    for leftover in leftovers:
        if leftover.remove is None:
            continue
        try:
            leftover.remove()
        except MigratorError as error:
            yield leftover, error.message
        else:
            yield leftover, ""


class Cleaning:
    """The leftovers of one plan; its local lock is held, so that no process of this state directory is at work.

    `stores` are those of its runs, each with a plan file that names the places in them.
    """

    def __init__(
        self,
        state: StateDirectory,
        plan_name: str,
        stores: Iterable[PlanStores],
        *,
        open_target: Callable[[LoadedPlan], MilvusTarget],
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._state = state
        self._plan_name = plan_name
        self._open_target = open_target
        self._stores = list(stores)
        self._clock = clock
        self._tell = tell
        self._home = identity_of(state.folder)
        self._runs = {run.run_id: run for run in state.runs() if run.plan.name == plan_name}

    def find(self) -> list[Leftover]:
        """All of them; those of dead processes elsewhere are watched for half a minute first."""
        dumps = [leftover for place in self._stores for leftover in self._dumps(place.staging, place.loaded)]
        imports = [leftover for place in self._stores for leftover in self._imports(place)]
        canaries = [leftover for place in self._stores for leftover in self._canaries(place)]
        return [*dumps, *imports, *self._replaced(), *canaries, *self._leases(), *self._folders()]

    # -- dumps ------------------------------------------------------------------------------------------------------

    def _dumps(self, store: ObjectStore, loaded: LoadedPlan) -> Iterator[Leftover]:
        for claim in read_claims(store, claims_folder(loaded)):
            run = self._runs.get(claim.run_id)
            found = self._unknown(store, loaded, claim) if run is None else self._known(store, run)
            if found is not None:
                yield found

    def _unknown(self, store: ObjectStore, loaded: LoadedPlan, claim: DumpClaim) -> Leftover | None:
        prefix = loaded.staging.prefix.lstrip("/")
        if find_listed(store, prefix) is not None:
            return None
        reason = f"it belongs to run {claim.run_id} of plan {claim.plan}, which this state directory does not know"
        return Leftover(kind="dump", name=prefix, reason=reason)

    def _known(self, store: ObjectStore, run: Run) -> Leftover | None:
        with self._state.journal(run) as journal:
            is_mirrored = run.loaded.options.state == "staging"  # and may have gone on elsewhere
            never_began = not is_mirrored and not run.was_started(journal)
            is_over = never_began or journal.rollback() is StepEvent.ROLLED_BACK
            is_unfinished = run.is_unfinished(journal)
        name = run.plan.dump
        share = DumpShare.find(store, run)
        if share is None:
            return None
        if is_over:
            how = "never began" if never_began else "is rolled back"
            what = "what it does not list of" if share.listed else "it is unfinished:"
            reason = f"{what} run {run.run_id}, which {how}"
            return Leftover(kind="dump", name=name, reason=reason, remove=partial(self._remove, store, run))
        if not is_unfinished:
            return None
        reason = f"run {run.run_id} is unfinished: migrator apply --resume, or migrator rollback {run.run_id}"
        return Leftover(kind="dump", name=name, reason=reason)

    def _remove(self, store: ObjectStore, run: Run) -> None:
        """Under the lease of the dump; what a finished one lists stays."""
        with self._stores_of(run).leases(run_id=run.run_id, home=self._home, clock=self._clock) as leases:
            leases.acquire((), timeout_s=_WATCH_S, on_wait=lambda *_: None)
            leases.require_dump_held()
            if (share := DumpShare.find(store, run)) is not None:
                share.remove(store)

    def _stores_of(self, run: Run) -> PlanStores:
        return next(stores for stores in self._stores if place_of(stores.loaded) == place_of(run.loaded))

    # -- what was brought for imports -------------------------------------------------------------------------------

    def _imports(self, place: PlanStores) -> Iterator[Leftover]:
        """Files in the target's store of runs of this plan; no job of a run that is over reads them."""
        if not is_apart(place.loaded):
            return
        folder = imports_folder(place.loaded)
        for run_id in place.target.list_folders(folder):
            run = self._runs.get(run_id)
            if run is not None or plan_of(run_id) == self._plan_name:
                name = f"{place.target.place}/{forwarded_prefix(folder, run_id)}"
                reason, is_over = self._ending_of(run_id, run)
                share = ForwardShare(prefix=forwarded_prefix(folder, run_id))
                remove = partial(share.remove, place.target) if is_over else None
                yield Leftover(kind="files for imports", name=name, reason=reason, remove=remove)

    def _ending_of(self, run_id: str, run: Run | None) -> tuple[str, bool]:
        """What became of a run, and whether that is its end."""
        if run is None:
            return f"they belong to run {run_id}, which this state directory does not know", False
        with self._state.journal(run) as journal:
            if run.is_unfinished(journal):
                ways = f"migrator apply --resume, or migrator rollback {run_id}"
                return f"run {run_id} is unfinished: {ways}", False
        return f"run {run_id} is over", True

    # -- what was replaced ------------------------------------------------------------------------------------------

    def _replaced(self) -> Iterator[Leftover]:
        """Predecessors that are still kept, and what was built to replace one and is over; by run and its target."""
        for run in self._runs.values():
            if not retirements(run):
                continue
            try:
                target = self._open_target(run.loaded)
                for found in Retired(self._state, list(self._runs.values()), run).find(target):
                    remove = None if found.drop is None else partial(self._drop, run, target, found.drop)
                    yield Leftover(kind="collection", name=found.ref.short, reason=found.reason, remove=remove)
            except MilvusError as error:
                reason = f"what run {run.run_id} replaced could not be looked for: {error.message}"
                yield Leftover(kind="target", name=run.plan.target.uri if run.plan.target else "", reason=reason)

    def _drop(self, run: Run, target: MilvusTarget, drop: Callable[[MilvusTarget, Lease], None]) -> None:
        """Under the leases of the run's targets, which another run may want to replace once more."""
        with self._stores_of(run).leases(run_id=run.run_id, home=self._home, clock=self._clock) as leases:
            leases.acquire(run.lease_targets(), timeout_s=_WATCH_S, on_wait=lambda *_: None)
            drop(target, leases)

    # -- canaries ---------------------------------------------------------------------------------------------------

    def _canaries(self, place: PlanStores) -> Iterator[Leftover]:
        """What preflights that were killed left in the stores and at the target."""
        for key, marker in read_markers(place.staging, canaries_folder(place.loaded)):
            if marker.plan != self._plan_name:
                continue
            remove = partial(self._remove_canary, place, key, marker)
            name = f"{marker.canary_id}, {scratch_names(marker.canary_id)[0]}"
            target = place.loaded.target
            if marker.target and (target is None or target.milvus.uri != marker.target):
                yield Leftover(
                    kind="canary", name=name, reason=f"{marker}, is at {marker.target}, not this plan's target"
                )
            elif marker.is_over(self._clock.now()):
                yield Leftover(kind="canary", name=name, reason=f"{marker}, is over", remove=remove)
            else:
                yield Leftover(kind="canary", name=name, reason=f"{marker}, may be at work")

    def _remove_canary(self, place: PlanStores, key: str, marker: Marker) -> None:
        if place.loaded.target is not None:
            target = self._open_target(place.loaded)
            for name in scratch_names(marker.canary_id) if marker.database in target.list_databases() else ():
                target.drop_collection(CollectionRef(marker.database, name))
        remove_folder(place.staging, marker.staged)
        if marker.imported_from:
            remove_folder(place.target, marker.imported_from)
        place.staging.delete([key])

    # -- leases and heartbeats --------------------------------------------------------------------------------------

    def _leases(self) -> Iterator[Leftover]:
        """Those of dead processes: told by the local lock where they ran here, else by a heart that stands still."""
        homes = [home for place in self._stores for home in place.homes()]
        held = [(home.store, holder, path) for home in homes for holder, path in self._held(home)]
        beats = [(home.store, key) for home in homes for key in self._beats(home)]
        dead = {holder.beat for _, holder, _ in held if holder.home == self._home}
        watched = [(store, holder.beat) for store, holder, _ in held] + beats
        dead |= self._silent([each for each in watched if each[1] not in dead])
        for store, holder, path in held:
            if holder.beat in dead:
                remove = partial(store.delete, [f"{path}/{holder.number:08d}"])
                yield Leftover(kind="lease", name=path, reason=f"its holder, {holder}, is dead", remove=remove)
        for store, key in beats:
            if key in dead:
                reason = "its process is dead"
                yield Leftover(kind="heartbeat", name=key, reason=reason, remove=partial(store.delete, [key]))

    def _held(self, home: LeaseHome) -> Iterator[tuple[Holder, str]]:
        """The leases that runs of this plan and state directory hold, each with its folder."""
        keys = [entry.key for folder in home.leases for entry in home.store.list_objects(folder)]
        for path in sorted({key.rpartition("/")[0] for key in keys}):
            holder = find_holder(home.store, LeaseName(path=path, label=path))
            if holder is not None and self._is_own(holder.run_id, holder.home):
                yield holder, path

    def _is_own(self, run_id: str, home: str = "") -> bool:
        """A run that is known here; or one that was discarded, and whose process ran here."""
        return run_id in self._runs or (home == self._home and plan_of(run_id) == self._plan_name)

    def _beats(self, home: LeaseHome) -> Iterator[str]:
        for entry in home.store.list_objects(home.beats):
            try:
                content = json.loads(home.store.read(entry.key))
            except ObjectMissing:
                continue
            if self._is_own(content["run_id"]):
                yield entry.key

    def _silent(self, watched: Sequence[tuple[ObjectStore, str]]) -> set[str]:
        """The heartbeats that do not move for as long as a living one never rests."""
        if not watched:
            return set()
        before = [_pulse(store, key) for store, key in watched]
        self._tell(f"watching for {_WATCH_S:.0f} s whether processes elsewhere are alive")
        self._clock.sleep(_WATCH_S)
        after = [_pulse(store, key) for store, key in watched]
        return {key for (_, key), then, now in zip(watched, before, after, strict=True) if then == now}

    # -- the state directory ----------------------------------------------------------------------------------------

    def _folders(self) -> Iterator[Leftover]:
        for folder in sorted((self._state.folder / "runs").glob("*/")):
            if plan_of(folder.name) == self._plan_name and not (folder / "run.json").exists():
                remove = partial(shutil.rmtree, folder)
                yield Leftover(kind="run", name=folder.name, reason="it never began", remove=remove)
        for run in self._runs.values():
            with self._state.journal(run) as journal:
                was_started = run.was_started(journal)
            if not was_started:
                remove = partial(self._state.discard_unstarted, run)
                yield Leftover(kind="run", name=run.run_id, reason="no step of it was started", remove=remove)


def _pulse(store: ObjectReader, key: str) -> bytes | None:
    try:
        return store.read(key)
    except ObjectMissing:
        return None
