"""The preflight: every part of a plan by itself, then the plan as a whole, and where it is wanted the canary.

A part that is broken hides no other; what stands on it is told as not looked at.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from migrator.errors import MilvusError, PlanError, StoreError
from migrator.model.collection import DEFAULT_DATABASE
from migrator.model.finding import Part
from migrator.running.canary import Canary, Surroundings
from migrator.running.doors import StorePlace
from migrator.running.findings import Findings
from migrator.running.preflight_milvus import SELDOM_NEEDED, look_at_milvus
from migrator.running.preflight_plan import Whole, look_at_plan, look_at_room, wanted_shards
from migrator.running.preflight_roots import Side, look_at_root
from migrator.running.preflight_stores import look_at_store, tell_cause
from migrator.spec.places import is_same_milvus, is_same_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.finding import Finding
    from migrator.model.observed import MigratedRecord
    from migrator.planning.plan import Plan
    from migrator.ports.clock import Clock
    from migrator.ports.milvus import MilvusReader, MilvusSource, MilvusTarget
    from migrator.ports.store import ObjectStore
    from migrator.running.doors import Doors
    from migrator.spec.document import Cluster
    from migrator.spec.loaded import LoadedPlan


class Preflight:
    """One look at all that a plan names; its findings are in the order of `Part`."""

    def __init__(self, loaded: LoadedPlan, doors: Doors, *, clock: Clock) -> None:
        self._loaded = loaded
        self._doors = doors
        self._clock = clock
        self._servers = {part: Findings(part, loaded) for part in (Part.SOURCE, Part.TARGET)}
        self._findings = {part: Findings(part, loaded) for part in Part}
        """Of all but the servers, which are looked at beside the stores."""
        self._places = _places(loaded)
        self._stores: dict[Part, ObjectStore] = {}
        """Those that work."""
        self._source: MilvusSource | None = None
        self._target: MilvusTarget | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found until now."""
        return tuple(chain.from_iterable(self._of(part) for part in Part))

    def _of(self, part: Part) -> list[Finding]:
        servers = self._servers.get(part)
        return [*(servers.all if servers is not None else ()), *self._findings[part].all]

    def _has_failed(self, part: Part) -> bool:
        """Whether anything of it has, but for ports that a run seldom needs."""
        return any(found.exit_code and found.check not in SELDOM_NEEDED for found in self._of(part))

    # -- each part by itself ----------------------------------------------------------------------------------------

    def look_at_parts(self) -> None:
        """Both Milvus and all stores side by side, then whether they belong together."""
        later = {Part.STAGING} if self._is_inherited else set()
        opened = {part: store for part in self._places if (store := self._open(part)) is not None}
        with ThreadPoolExecutor(5, thread_name_prefix="preflight") as pool:
            looks = {part: pool.submit(self._look_at_store, part, opened[part]) for part in opened.keys() - later}
            source, target = pool.submit(self._look_at_source), pool.submit(self._look_at_target)
            self._source, self._target = source.result(), target.result()
            self._stores = {part: opened[part] for part, look in looks.items() if look.result()}
        if later:
            self._look_at_inherited(opened.get(Part.STAGING))
        self._tell_one_address()
        for part, milvus in ((Part.SOURCE, self._source), (Part.TARGET, self._target)):
            if milvus is not None and not (part is Part.SOURCE and self._loaded.source is None):
                self._suggest_bucket(part, milvus)
        self._look_at_roots()

    def _open(self, part: Part) -> ObjectStore | None:
        """One after the other: what opens a store reads the environment, and hides parts of it meanwhile."""
        place = self._places[part]
        if part is Part.STAGING and self._is_inherited and self._findings[Part.TARGET].has_failed:
            return None
        try:
            return self._doors.open_store(place.storage, place.field)
        except StoreError as error:
            tell_cause(place, error, self._findings[part], self._doors, call="open")
            return None

    def _look_at_inherited(self, store: ObjectStore | None) -> None:
        """What is wrong with the target's storage is told of the target, and only there."""
        if store is None or Part.TARGET not in self._stores:
            self._findings[Part.STAGING].skip("storage.list", "staging", "it is target.storage: see what failed there")
        elif self._look_at_store(Part.STAGING, store):
            self._stores[Part.STAGING] = store

    @property
    def _is_inherited(self) -> bool:
        """Whether staging has no settings of its own."""
        return self._places[Part.STAGING].field == "target.storage"

    def _look_at_store(self, part: Part, store: ObjectStore) -> bool:
        return look_at_store(self._places[part], store, self._findings[part], self._doors)

    def _look_at_source(self) -> MilvusSource | None:
        """The server, or the backup that stands for one, which the store it lies in tells of."""
        findings, source = self._servers[Part.SOURCE], self._loaded.source
        if source is not None:
            return look_at_milvus(Part.SOURCE, source.milvus, self._doors.open_source, findings, self._doors)
        try:
            return self._doors.open_source()
        except (StoreError, PlanError) as error:
            findings.error("source.backup", "source.backup.name", error)
            return None

    def _look_at_target(self) -> MilvusTarget | None:
        if self._loaded.target is None:
            return None
        findings = self._servers[Part.TARGET]
        return look_at_milvus(Part.TARGET, self._loaded.target.milvus, self._doors.open_target, findings, self._doors)

    # -- whether they belong together -------------------------------------------------------------------------------

    def _tell_one_address(self) -> None:
        """One Milvus has one root path: with one address on both sides, the storages have to be one too."""
        source, target = self._loaded.source, self._loaded.target
        if source is None or target is None or not is_same_milvus(source.milvus.uri, target.milvus.uri):
            return
        if is_same_store(source.storage, target.storage) and _root(source) == _root(target):
            return
        message = "source.milvus.uri and target.milvus.uri are one address, and the storages are two"
        hint = "write the target's own address; or, to clone inside one Milvus, the source's storage too"
        self._servers[Part.TARGET].fail(
            "milvus.place",
            "target.milvus.uri",
            message,
            hint,
            exit_code=PlanError.exit_code,
            value=target.milvus.uri,
        )

    def _suggest_bucket(self, part: Part, milvus: MilvusReader) -> None:
        """In the place of a bucket that is not there, the one that the Milvus says it uses."""
        field = f"{self._places[part].field}.bucket"
        own = milvus.told_bucket() if self._findings[part].has_failed_at(field) else ""
        if own and own != self._places[part].storage.bucket:
            self._findings[part].suggest(field, f"set it to {own}: its Milvus says that it uses that")

    def _look_at_roots(self) -> None:
        sides = {part: side for part in (Part.SOURCE, Part.TARGET) if (side := self._side(part)) is not None}
        for part, side in sides.items():
            if not self._has_failed(part):
                look_at_root(side, sides.get(Part.TARGET if part is Part.SOURCE else Part.SOURCE), self._doors)

    def _side(self, part: Part) -> Side | None:
        milvus = self._source if part is Part.SOURCE else self._target
        if milvus is None or part not in self._stores or (part is Part.SOURCE and self._loaded.source is None):
            return None
        return Side(place=self._places[part], store=self._stores[part], milvus=milvus, findings=self._findings[part])

    # -- the plan as a whole ----------------------------------------------------------------------------------------

    def look_at_plan(self, migrated: Sequence[MigratedRecord], *, reads_dumps: bool) -> Plan | None:
        """The plan that could be made; None where none can."""
        store = self._stores.get
        whole = Whole(
            source=self._source,
            target=self._target,
            source_store=store(Part.SOURCE),
            target_store=store(Part.TARGET),
            staging=store(Part.STAGING),
        )
        findings = self._findings[Part.PLAN]
        plan = look_at_plan(self._loaded, whole, migrated, findings, earlier=self.findings, reads_dumps=reads_dumps)
        if plan is not None and whole.staging is not None:
            may_link = self._loaded.source_storage.provider == "local"
            look_at_room(plan, self._places[Part.STAGING], self._findings[Part.STAGING], may_link=may_link)
        return plan

    def skip_plan(self, why: str) -> None:
        """Tell why the plan is not looked at."""
        self._findings[Part.PLAN].skip("plan", "", why)

    # -- the canary -------------------------------------------------------------------------------------------------

    def fly_canary(self, plan: Plan | None) -> None:
        """Prove the way by writing, as far as the parts for it work; `plan` tells what will be asked of the target."""
        findings, store = self._findings[Part.CANARY], self._stores.get
        staging = store(Part.STAGING)
        if staging is None:
            findings.skip("canary", "staging", "nothing is written for a trial: see what failed there")
            return
        target = None if self._has_failed(Part.TARGET) else self._target
        if target is None and self._loaded.target is not None:
            findings.skip("canary.import", "target", "nothing is imported for a trial: see what failed there")
        around = Surroundings(
            source_place=self._places[Part.SOURCE],
            source_store=None if self._findings[Part.SOURCE].has_failed else store(Part.SOURCE),
            staging_place=self._places[Part.STAGING],
            staging=staging,
            target_place=self._places.get(Part.TARGET),
            target_store=store(Part.TARGET),
            target=target,
            source=self._source if self._loaded.source is not None else None,
            stages_at_target=self._stages_at_target,
            database=self._scratch_database(target, plan),
            shards=wanted_shards(self._loaded, plan) if plan is not None else (),
        )
        Canary(self._loaded, around, findings, doors=self._doors, clock=self._clock).fly()

    @property
    def _stages_at_target(self) -> bool:
        target = self._places.get(Part.TARGET)
        return target is None or is_same_store(self._places[Part.STAGING].storage, target.storage)

    def _scratch_database(self, target: MilvusTarget | None, plan: Plan | None) -> str:
        """The first database that the plan writes to and that is there: a login may be bound to it."""
        if target is None or plan is None:
            return DEFAULT_DATABASE
        try:
            there = target.list_databases()
        except MilvusError:
            return DEFAULT_DATABASE
        wanted = (each.target.database for each in plan.collections if each.target is not None)
        return next((database for database in wanted if database in there), DEFAULT_DATABASE)


def _root(cluster: Cluster) -> str:
    return cluster.storage.root_path.strip("/")


def _places(loaded: LoadedPlan) -> dict[Part, StorePlace]:
    """The storages of a plan; staging is one even where it is the target's."""
    is_backup = loaded.source_backup is not None
    source = "source.backup.storage" if is_backup else "source.storage"
    places = {
        Part.SOURCE: StorePlace(
            part=Part.SOURCE,
            field=source,
            root_field="source.backup.name" if is_backup else f"{source}.root_path",
            storage=loaded.source_storage,
            folder=loaded.source_prefix,
            is_milvus=not is_backup,
        )
    }
    if loaded.target is not None:
        places[Part.TARGET] = StorePlace(
            part=Part.TARGET,
            field="target.storage",
            root_field="target.storage.root_path",
            storage=loaded.target.storage,
            folder=_root(loaded.target),
            is_milvus=True,
        )
    places[Part.STAGING] = StorePlace(
        part=Part.STAGING,
        field=loaded.staging_field,
        root_field="staging.root_path",
        storage=loaded.staging.storage,
        folder=loaded.staging.root_path.strip("/"),
        is_milvus=False,
    )
    return places
