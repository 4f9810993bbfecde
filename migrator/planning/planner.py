"""Plan file and observed state to a plan: a pure function, so that the same input gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from migrator.errors import Complaint, PlanError
from migrator.model.collection import CollectionRef
from migrator.model.timestamps import told_as_utc
from migrator.planning.access import ONLY_NOTICE, plan_access
from migrator.planning.aliases import AliasClaims
from migrator.planning.backup_only import backup_action, backup_notices, tell_backup
from migrator.planning.carriage import carriage_notices
from migrator.planning.committing import committing_notices
from migrator.planning.compatibility import unsupported_pair, unsupported_source, unsupported_target
from migrator.planning.graph import build_steps
from migrator.planning.in_place import in_place_notices
from migrator.planning.indexes import plan_indexes, unindexed_vectors
from migrator.planning.item import PlannedItem
from migrator.planning.loading import plan_loading
from migrator.planning.partitions import partition_faults, with_chosen_partitions
from migrator.planning.places import dump_place
from migrator.planning.plan import Action, Plan, Side, digest_of, step_to_plain
from migrator.planning.replacing import predecessor
from migrator.planning.reproducible import irreproducible
from migrator.planning.selection import Selected, select
from migrator.planning.snapshots import SNAPSHOTS, SnapshotChoice, choose_snapshot
from migrator.planning.telling import plan_notices, tell, verification_notices
from migrator.planning.version_notices import cut_listings, version_notices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.collection import Collection, Index
    from migrator.model.observed import MigratedRecord, ObservedCollection, ObservedState, ObservedTarget
    from migrator.planning.plan import PlannedCollection
    from migrator.planning.replacing import Predecessor
    from migrator.spec.document import Cluster
    from migrator.spec.loaded import LoadedPlan
    from migrator.steps.base import Step


def make_plan(loaded: LoadedPlan, observed: ObservedState, *, only: str | None = None) -> Plan:
    """The plan for what both sides hold; `only` keeps the mappings whose source or target it matches.

    Raises:
        PlanError: No plan can be made; all reasons at once, each with its field of the plan file.
    """
    return _Planner(loaded, observed, only).plan()


def mapped_pairs(
    loaded: LoadedPlan, names: Sequence[CollectionRef], *, only: str | None = None
) -> list[tuple[CollectionRef, CollectionRef]]:
    """Source and target of everything the plan file maps.

    Raises:
        PlanError: The mappings do not fit the source's collections.
    """
    return [(item.source, item.target) for item in mapped(loaded, names, only=only)]


def mapped(loaded: LoadedPlan, names: Sequence[CollectionRef], *, only: str | None = None) -> list[Selected]:
    """The same, each with its mapping.

    Raises:
        PlanError: The mappings do not fit the source's collections.
    """
    selection = select(loaded, names)
    if selection.complaints:
        raise PlanError(selection.complaints)
    return [item for item in selection.items if only is None or _fits(only, item)]


def of_only(plan: Plan, only: str | None) -> Plan:
    """The plan with no other collections than `only` keeps."""
    kept = tuple(item for item in plan.collections if only is None or _fits(only, item))
    return replace(plan, collections=kept)


def _fits(only: str, item: Selected | PlannedCollection) -> bool:
    return _matches(only, item.source) or (item.target is not None and _matches(only, item.target))


class _Planner:
    def __init__(self, loaded: LoadedPlan, observed: ObservedState, only: str | None) -> None:
        self._loaded = loaded
        self._observed = observed
        self._only = only
        self._complaints: list[Complaint] = list(observed.findings)
        self._taken = {target.ref: target for target in observed.target_names}
        self._target_aliases = frozenset(observed.target_aliases)
        """Milvus keeps them and collections in one name space."""
        self._dumped = frozenset(collection_id for collection_id, _ in observed.dump_collections)
        self._sources: set[CollectionRef] = set()
        self._aliases = AliasClaims(observed, ())
        self._records = {(record.source, record.target): record for record in observed.migrated}
        self._dump_prefix = loaded.staging.prefix.lstrip("/")

    def plan(self) -> Plan:
        """All complaints at once, or the plan."""
        self._check_versions()
        selection = select(self._loaded, self._observed.source_names)
        self._complaints += selection.complaints
        found = {item.collection.ref: item for item in self._observed.source}
        self._sources = {item.source for item in selection.items}
        self._aliases = AliasClaims(self._observed, (item.target for item in selection.items))
        kept = self._kept(selection.items)
        items = [self._item(selected, found[selected.source]) for selected in kept if selected.source in found]
        self._check_listings(items)
        if self._complaints:
            raise PlanError(self._complaints)
        todo = [item for item in items if item.action is Action.MIGRATE]
        steps = tuple(build_steps(self._loaded, self._observed, todo))
        is_whole = kept == selection.items
        access = plan_access(self._observed, items, steps) if is_whole else None
        if access is not None and access.step is not None:
            steps = (*steps, access.step)
        leaves_access = self._observed.access is not None and not is_whole
        version = self._observed.target_version
        told = partial(tell, target_version=version) if self._loaded.target is not None else tell_backup
        plan = Plan(
            name=self._loaded.name,
            description=self._loaded.description,
            source=self._source_side(),
            target=None
            if self._loaded.target is None
            else self._side(self._loaded.target, self._observed.target_version),
            dump=dump_place(self._loaded),
            collections=tuple(told(item, self._record_of(item.selected)) for item in items),
            notices=(*(self._notices(todo, steps) if todo else ()), *((ONLY_NOTICE,) if leaves_access else ())),
            steps=steps,
            digest="",
            access=access.told if access is not None else None,
        )
        return replace(plan, digest=self._digest(plan))

    def _notices(self, todo: list[PlannedItem], steps: Sequence[Step]) -> tuple[str, ...]:
        together = committing_notices(self._observed, todo, steps)
        told = in_place_notices(self._observed, todo)
        return (*self._usual_notices(todo), *carriage_notices(self._loaded, self._observed), *together, *told)

    def _usual_notices(self, todo: list[PlannedItem]) -> tuple[str, ...]:
        if self._loaded.source_backup is not None:
            cut: tuple[str, ...] = ("all that the backup holds comes along, rows newer than its time too",)
            later = (*plan_notices(self._loaded)[1:], *verification_notices(self._loaded, self._observed, todo))
            return (*cut, *self._observed.notices, *version_notices(self._observed), *later)
        if self._loaded.target is None:
            return (*plan_notices(self._loaded)[:1], *backup_notices(self._loaded))
        usual = (*plan_notices(self._loaded), *version_notices(self._observed))
        return (*usual, *verification_notices(self._loaded, self._observed, todo))

    def _kept(self, items: tuple[Selected, ...]) -> tuple[Selected, ...]:
        only = self._only
        if only is None:
            return items
        kept = tuple(item for item in items if _fits(only, item))
        if items and not kept:
            hint = f"it is matched against sources and targets: {items[0].source}, {items[0].target}, …"
            self._complaints.append(Complaint(f"--only {only} matches no mapping", hint=hint))
        return kept

    def _record_of(self, selected: Selected) -> MigratedRecord | None:
        return self._records.get((selected.source, None if self._loaded.target is None else selected.target))

    def _source_side(self) -> Side:
        if self._loaded.source is not None:
            return self._side(self._loaded.source, self._observed.source_version)
        storage = self._loaded.source_storage
        return Side(
            uri=storage.endpoint or ("" if storage.bucket is None else "s3:/"),
            version=self._observed.source_version,
            bucket=storage.bucket or "",
            root_path=storage.root_path,
            backup=self._loaded.source_prefix.rpartition("/")[2],
            made_at=told_as_utc(self._observed.backed_up_ts or 0),
        )

    def _side(self, cluster: Cluster, version: str) -> Side:
        storage = cluster.storage
        return Side(uri=cluster.milvus.uri, version=version, bucket=storage.bucket or "", root_path=storage.root_path)

    def _digest(self, plan: Plan) -> str:
        """Over everything that decides what is done; estimates of segments and rows are left out."""
        document = self._loaded.frozen()
        for name in ("path", "clusters_path", "file_digests"):  # where the files lie decides nothing
            del document[name]
        return digest_of(
            {
                "document": document,
                "versions": [plan.source.version, plan.target.version if plan.target is not None else ""],
                "collections": ([str(c.source), str(c.target), c.action, list(c.changed)] for c in plan.collections),
                "target_names": [
                    [str(each.ref), each.collection_id, each.created_ts] for each in self._observed.target_names
                ],
                "steps": map(step_to_plain, plan.steps),
            }
        )

    def _complaint(self, field: str, message: str, hint: str, value: str | None = None) -> Complaint:
        return Complaint(message, field=field, hint=hint, value=value, position=self._loaded.locate(field))

    # -- what is wrong ----------------------------------------------------------------------------------------------

    def _check_versions(self) -> None:
        for side, is_there, unsupported, version in (
            ("source", self._loaded.source is not None, unsupported_source, self._observed.source_version),
            ("target", self._loaded.target is not None, unsupported_target, self._observed.target_version),
        ):
            if is_there and (reason := unsupported(version)):
                hint = "see the versions that the README lists"
                self._complaints.append(self._complaint(f"{side}.milvus.uri", reason, hint))
        supported = not (
            unsupported_source(self._observed.source_version) or unsupported_target(self._observed.target_version)
        )
        if self._loaded.source is None or self._loaded.target is None or not supported:
            return
        if reason := unsupported_pair(self._observed.source_version, self._observed.target_version):
            hint = "upgrade the target to the source's line, or beyond it"
            self._complaints.append(self._complaint("target.milvus.uri", reason, hint))

    def _item(self, selected: Selected, observed: ObservedCollection) -> PlannedItem:
        record = self._record_of(selected)
        if self._loaded.target is None:
            self._check_files(selected, SnapshotChoice())
            return self._backup_item(selected, observed, record)
        taken = self._taken.get(selected.target)
        action = self._action(selected, observed, record, taken)
        if action is not Action.MIGRATE:
            return PlannedItem(selected=selected, observed=observed, action=action)
        choice = choose_snapshot(self._loaded, self._observed, selected, observed.collection)
        if choice.way is None:
            self._check_dump(selected, observed.collection)
            self._check_format(choice)
            self._check_files(selected, choice)
            self._check_reproducible(selected, observed.collection, choice)
        replaces = None
        if taken is not None and selected.mapping.if_exists == "replace":
            replaces = self._predecessor(selected, taken)
        told = replace(observed, notices=(*observed.notices, *choice.notices()))
        return replace(self._migrated(selected, told, replaces), snapshot=choice.way)

    def _check_format(self, choice: SnapshotChoice) -> None:
        """Snapshots that were asked for by name."""
        if self._loaded.options.transfer.format == SNAPSHOTS:
            field = "options.transfer.format"
            message = f"snapshots are not possible: {choice.reason}"
            self._complaints.append(self._complaint(field, message, "set it to auto or binlogs", SNAPSHOTS))

    def _predecessor(self, selected: Selected, taken: ObservedTarget) -> Predecessor:
        """What is replaced; the names it needs meanwhile have to be free, and are taken with that."""
        found = predecessor(self._loaded.name, selected.source, taken)
        field = f"{selected.mapping.field}.target"
        if self._observed.same_milvus and selected.target in self._sources:
            message = f"{selected.target.short} would be replaced, and is a source of this plan: both are one Milvus"
            self._complaints.append(self._complaint(field, message, "give the mapping another target"))
        for name in (found.temporary, found.retired):
            if self._aliases.is_taken(name):
                message = f"replacing {selected.target.short} needs the name {name.short}, which is taken at the target"
                hint = f"see whose {name.short} is; drop it, or rename it"
                self._complaints.append(self._complaint(field, message, hint))
            self._aliases.reserve(name)
        return found

    def _migrated(self, selected: Selected, observed: ObservedCollection, replaces: Predecessor | None) -> PlannedItem:
        """What the words of the mapping make of the source's partitions, indexes, load state and aliases."""
        mapping, collection = selected.mapping, observed.collection
        chosen = with_chosen_partitions(mapping.partitions, collection)
        indexes = plan_indexes(mapping.indexes, collection, self._observed.target_version)
        aliases = self._aliases.claim(selected, collection, following=replaces.aliases if replaces else ())
        for key, faults in (
            ("partitions", partition_faults(mapping.partitions, collection)),
            ("indexes", indexes.faults),
            ("aliases", aliases.faults),
        ):
            for message, hint in faults:
                self._complaints.append(self._complaint(f"{mapping.field}.{key}", message, hint))
        if not indexes.faults:
            self._check_load(selected, collection, indexes.indexes)
        return PlannedItem(
            selected=selected,
            observed=observed,
            action=Action.MIGRATE,
            indexes=indexes.indexes,
            loading=plan_loading(mapping.load, chosen, indexes.indexes, self._observed.resource_groups),
            aliases=aliases.aliases,
            moves=aliases.moves,
            changed=(*indexes.changed, *aliases.changed),
            lost=aliases.lost,
            replaces=replaces,
        )

    def _action(
        self,
        selected: Selected,
        observed: ObservedCollection,
        record: MigratedRecord | None,
        taken: ObservedTarget | None,
    ) -> Action:
        field = f"{selected.mapping.field}.target"
        if self._observed.same_milvus and selected.target == selected.source:
            message = f"{selected.source.short} would be mapped onto itself: both sides are one Milvus"
            self._complaints.append(self._complaint(field, message, "give the mapping another target"))
        elif taken is None and selected.target in self._target_aliases:
            message = f"{selected.target.short} is an alias at the target"
            self._complaints.append(self._complaint(field, message, "give the mapping another target"))
        elif taken is not None:
            return self._action_if_taken(selected, observed, record, taken)
        return Action.MIGRATE

    def _action_if_taken(
        self,
        selected: Selected,
        observed: ObservedCollection,
        record: MigratedRecord | None,
        taken: ObservedTarget,
    ) -> Action:
        same_source = record is not None and record.source_collection_id == observed.collection.collection_id
        if record is not None and same_source and record.target_collection_id == taken.collection_id:
            return Action.DONE
        if selected.mapping.if_exists == "skip":
            return Action.SKIP
        if selected.mapping.if_exists == "replace":
            return Action.MIGRATE
        message = f"the target already has a collection {selected.target.short}, and no run of this plan made it"
        if record is not None:
            other = "source" if record.target_collection_id == taken.collection_id else "target"
            message = (
                f"{selected.target.short} is at the target, and since run {record.run_id} migrated it the {other} "
                f"collection was dropped and created again"
            )
        hint = f"drop {selected.target.short}, choose another target, or set if_exists: skip or replace"
        field = f"{selected.mapping.field}.target"
        self._complaints.append(self._complaint(field, message, hint))
        return Action.MIGRATE

    def _check_dump(self, selected: Selected, collection: Collection) -> None:
        if collection.collection_id in self._dumped:
            self._complaints.append(
                self._complaint(
                    "staging.backup_name",
                    f"the dump {self._dump_prefix} already holds {selected.source.short} as an earlier run left it",
                    "choose another staging.backup_name",
                )
            )

    def _backup_item(
        self, selected: Selected, observed: ObservedCollection, record: MigratedRecord | None
    ) -> PlannedItem:
        """A collection that is backed up and nothing else."""
        action, fault = backup_action(observed.collection, record, self._dumped, dump_place(self._loaded))
        if fault:
            self._complaints.append(self._complaint("staging.backup_name", fault, "choose another staging.backup_name"))
        return PlannedItem(selected=selected, observed=observed, action=action)

    def _check_files(self, selected: Selected, choice: SnapshotChoice) -> None:
        """Files that cannot be moved as such."""
        if reason := dict(self._observed.need_snapshots).get(selected.source):
            message = f"{selected.source.short} {reason}{choice.why_not}"
            hint = "such collections need snapshots of Milvus 3.0; leave this one out with `exclude`"
            self._complaints.append(self._complaint(f"{selected.mapping.field}.source", message, hint))

    def _check_reproducible(self, selected: Selected, collection: Collection, choice: SnapshotChoice) -> None:
        versions = (self._observed.target_version, self._observed.source_version)
        for reason in irreproducible(collection, *versions):
            self._complaints.append(
                self._complaint(
                    f"{selected.mapping.field}.source",
                    f"{selected.source.short} cannot be made at the target, a Milvus {self._observed.target_version}: "
                    f"{reason}{choice.why_not if 'snapshots' in reason else ''}",
                    "leave it out with `exclude`",
                )
            )

    def _check_listings(self, items: list[PlannedItem]) -> None:
        todo = [item for item in items if item.action is Action.MIGRATE]
        for name in cut_listings(self._loaded, self._observed, todo):
            self._complaints.append(
                self._complaint(
                    "options.import.segments_per_job",
                    f"{name} has more than 5,000 files, and Milvus {self._observed.target_version} sees no more of "
                    f"Azure in one request",
                    "set it to 1, so that each request is for one segment",
                )
            )

    def _check_load(self, selected: Selected, collection: Collection, indexes: tuple[Index, ...]) -> None:
        if selected.mapping.load == "always" and unindexed_vectors(collection, indexes):
            self._complaints.append(
                self._complaint(
                    f"{selected.mapping.field}.load",
                    f"{selected.target.short} would have a vector field without an index, so it cannot be loaded",
                    "list the index under indexes, or create it at the source first, or set load: as_source",
                )
            )


def _matches(pattern: str, ref: CollectionRef) -> bool:
    """Whether the pattern fits `database.collection`, or the collection's name alone in the default database."""
    return fnmatchcase(str(ref), pattern) or fnmatchcase(ref.short, pattern)
