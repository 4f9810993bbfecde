"""Plan file and observed state to a plan: a pure function, so that the same input gives the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from migrator.errors import Complaint, PlanError
from migrator.model.codec import to_plain
from migrator.model.collection import DEFAULT_DATABASE, CollectionRef, ConsistencyLevel, LoadState
from migrator.planning.compatibility import unsupported_source, unsupported_target
from migrator.planning.plan import Action, Plan, PlannedCollection, Side, digest_of, dump_place, step_to_plain
from migrator.planning.selection import Selected, select
from migrator.steps.copy_segments import CopySegments, TransferMode
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_database import CreateDatabase, database_key
from migrator.steps.create_index import CreateIndex
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.flush import FLUSH_KEY, Flush
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.seal_dump import DumpedCollection, SealDump
from migrator.steps.switch_alias import SwitchAlias
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.collection import Collection
    from migrator.model.observed import Estimate, MigratedRecord, ObservedCollection, ObservedState, ObservedTarget
    from migrator.spec.document import Cluster
    from migrator.spec.loaded import LoadedPlan
    from migrator.steps.base import Step

_CONSISTENCY = {
    "Strong": ConsistencyLevel.STRONG,
    "Session": ConsistencyLevel.SESSION,
    "Bounded": ConsistencyLevel.BOUNDED,
    "Eventually": ConsistencyLevel.EVENTUALLY,
    "Customized": ConsistencyLevel.CUSTOMIZED,
}


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
    selection = select(loaded, names)
    if selection.complaints:
        raise PlanError(selection.complaints)
    return [(i.source, i.target) for i in selection.items if only is None or _fits(only, i)]


def _fits(only: str, item: Selected) -> bool:
    return _matches(only, item.source) or _matches(only, item.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A selected collection with what was observed of it and what shall be done."""

    selected: Selected
    observed: ObservedCollection
    action: Action
    aliases: tuple[str, ...]

    @property
    def source(self) -> CollectionRef:
        return self.selected.source

    @property
    def target(self) -> CollectionRef:
        return self.selected.target

    @property
    def collection(self) -> Collection:
        return self.observed.collection


class _Planner:
    def __init__(self, loaded: LoadedPlan, observed: ObservedState, only: str | None) -> None:
        self._loaded = loaded
        self._observed = observed
        self._only = only
        self._complaints: list[Complaint] = list(observed.findings)
        self._taken = {target.ref: target for target in observed.target_names}
        self._claimed_names = {*observed.target_taken, *observed.target_aliases}
        self._records = {(record.source, record.target): record for record in observed.migrated}
        self._dump_prefix = loaded.staging.prefix.lstrip("/")
        self._source_root = loaded.source.storage.root_path.strip("/")

    def plan(self) -> Plan:
        """All complaints at once, or the plan."""
        self._check_versions()
        selection = select(self._loaded, self._observed.source_names)
        self._complaints += selection.complaints
        found = {item.collection.ref: item for item in self._observed.source}
        self._claimed_names |= {item.target for item in selection.items}
        items = [
            self._item(selected, found[selected.source])
            for selected in self._kept(selection.items)
            if selected.source in found
        ]
        if self._complaints:
            raise PlanError(self._complaints)
        todo = [item for item in items if item.action is Action.MIGRATE]
        steps = tuple(self._steps(todo))
        plan = Plan(
            name=self._loaded.name,
            description=self._loaded.description,
            source=self._side(self._loaded.source, self._observed.source_version),
            target=self._side(self._target, self._observed.target_version),
            dump=dump_place(self._loaded),
            collections=tuple(self._planned(item) for item in items),
            notices=self._notices(todo),
            steps=steps,
            digest="",
        )
        return replace(plan, digest=self._digest(plan))

    def _kept(self, items: tuple[Selected, ...]) -> tuple[Selected, ...]:
        only = self._only
        if only is None:
            return items
        kept = tuple(item for item in items if _fits(only, item))
        if items and not kept:
            hint = f"it is matched against sources and targets: {items[0].source}, {items[0].target}, …"
            self._complaints.append(Complaint(f"--only {only} matches no mapping", hint=hint))
        return kept

    @property
    def _target(self) -> Cluster:
        if self._loaded.target is None:
            raise PlanError([self._complaint("target", "the plan has no target", "name a cluster as target")])
        return self._loaded.target

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
                "versions": [plan.source.version, plan.target.version],
                "collections": [[str(c.source), str(c.target), c.action, list(c.changed)] for c in plan.collections],
                "target_names": to_plain(self._observed.target_names),
                "steps": [step_to_plain(step) for step in plan.steps],
            }
        )

    def _complaint(self, field: str, message: str, hint: str, value: str | None = None) -> Complaint:
        return Complaint(message, field=field, hint=hint, value=value, position=self._loaded.locate(field))

    # -- what is wrong ----------------------------------------------------------------------------------------------

    def _check_versions(self) -> None:
        for side, reason in (
            ("source", unsupported_source(self._observed.source_version)),
            ("target", unsupported_target(self._observed.target_version)),
        ):
            if reason:
                hint = "see the versions that the README lists"
                self._complaints.append(self._complaint(f"{side}.milvus.uri", reason, hint))

    def _item(self, selected: Selected, observed: ObservedCollection) -> _Item:
        record = self._records.get((selected.source, selected.target))
        taken = self._taken.get(selected.target)
        action = self._action(selected, observed, record, taken)
        if action is not Action.MIGRATE:
            return _Item(selected=selected, observed=observed, action=action, aliases=())
        self._check_dump(selected, observed.collection)
        self._check_load(selected, observed.collection)
        aliases = self._claim_aliases(selected, observed.collection)
        return _Item(selected=selected, observed=observed, action=action, aliases=aliases)

    def _claim_aliases(self, selected: Selected, collection: Collection) -> tuple[str, ...]:
        """The aliases that are free at the target, which this mapping then takes: one name, one collection."""
        wanted = [CollectionRef(selected.target.database, alias) for alias in collection.aliases]
        free = [ref for ref in wanted if ref not in self._claimed_names]
        self._claimed_names.update(free)
        return tuple(ref.name for ref in free)

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
        elif taken is None and _is_alias(self._observed, selected.target):
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
        message = f"the target already has a collection {selected.target.short}, and no run of this plan made it"
        if record is not None:
            other = "source" if record.target_collection_id == taken.collection_id else "target"
            message = (
                f"{selected.target.short} is at the target, and since run {record.run_id} migrated it the {other} "
                f"collection was dropped and created again"
            )
        hint = f"drop {selected.target.short}, choose another target, or set if_exists: skip"
        field = f"{selected.mapping.field}.target"
        self._complaints.append(self._complaint(field, message, hint))
        return Action.MIGRATE

    def _check_dump(self, selected: Selected, collection: Collection) -> None:
        if any(dumped == collection.collection_id for dumped, _ in self._observed.dump_collections):
            self._complaints.append(
                self._complaint(
                    "staging.backup_name",
                    f"the dump {self._dump_prefix} already holds {selected.source.short} as an earlier run left it",
                    "choose another staging.backup_name",
                )
            )

    def _check_load(self, selected: Selected, collection: Collection) -> None:
        vectors = {field.name for field in collection.schema.fields if field.data_type.is_vector}
        if selected.mapping.load == "always" and vectors - {index.field_name for index in collection.indexes}:
            self._complaints.append(
                self._complaint(
                    f"{selected.mapping.field}.load",
                    f"{selected.source.short} has a vector field without an index, so it cannot be loaded",
                    "create the index at the source first, or set load: as_source",
                )
            )

    # -- what people read -------------------------------------------------------------------------------------------

    def _planned(self, item: _Item) -> PlannedCollection:
        return PlannedCollection(
            source=item.source,
            target=item.target,
            action=item.action,
            estimate=item.observed.estimate,
            carried=self._carried(item) if item.action is Action.MIGRATE else (),
            changed=self._changed(item) if item.action is Action.MIGRATE else (),
            not_carried=self._not_carried(item) if item.action is Action.MIGRATE else (),
            notices=self._collection_notices(item),
            reason=self._reason(item),
        )

    def _carried(self, item: _Item) -> tuple[str, ...]:
        collection = item.collection
        carried = [f"{len(collection.schema.fields)} fields", f"{len(collection.partitions)} partitions"]
        carried += [f"index {index}" for index in collection.indexes]
        carried += [f"property {key}={value}" for key, value in collection.properties]
        carried += [f"alias {alias}" for alias in item.aliases]
        if self._load_step(item, ()) is not None:
            carried.append("loaded")
        return tuple(carried)

    def _changed(self, item: _Item) -> tuple[str, ...]:
        create, collection = item.selected.mapping.create, item.collection
        changed = []
        if create.shards_num not in (None, collection.shards_num):
            changed.append(f"shards {collection.shards_num} → {create.shards_num}")
        if create.consistency_level and _CONSISTENCY[create.consistency_level] is not collection.consistency_level:
            changed.append(f"consistency {collection.consistency_level.name.title()} → {create.consistency_level}")
        if create.description not in (None, collection.schema.description):
            changed.append("description")
        properties = dict(collection.properties)
        changed += [
            f"property {key}: {properties.get(key, 'unset')} → {_text(value)}"
            for key, value in sorted(create.properties.items())
            if properties.get(key) != _text(value)
        ]
        if item.selected.mapping.load == "always" and collection.load_state is not LoadState.LOADED:
            changed.append("loaded, though the source is not")
        return tuple(changed)

    def _not_carried(self, item: _Item) -> tuple[str, ...]:
        lost = [f"alias {alias}: taken at the target" for alias in item.collection.aliases if alias not in item.aliases]
        lost.append("row timestamps: Milvus 2.3 gives every imported row the time of its import, so TTLs start anew")
        if item.selected.mapping.load == "never" and item.collection.load_state is LoadState.LOADED:
            lost.append("load state: load: never")
        return tuple(lost)

    def _reason(self, item: _Item) -> str:
        record = self._records.get((item.source, item.target))
        if item.action is Action.SKIP:
            return "exists at the target and is left alone (if_exists: skip)"
        if item.action is Action.DONE and record is not None:
            return f"migrated {'and verified ' if record.verified else ''}before, nothing to do"
        return ""

    def _collection_notices(self, item: _Item) -> tuple[str, ...]:
        record = self._records.get((item.source, item.target))
        if item.action is Action.DONE and record and _has_moved(record, item.observed.estimate):
            return (f"the source has changed since run {record.run_id} migrated it",)
        return ()

    def _notices(self, todo: list[_Item]) -> tuple[str, ...]:
        if not todo:
            return ()
        if self._loaded.options.flush == "never":
            return (
                "no flush: rows and deletes that are not flushed do not come along, and rows deleted lately reappear",
            )
        return ("rows and deletes written after the flush do not come along",)

    # -- steps ------------------------------------------------------------------------------------------------------

    def _steps(self, todo: list[_Item]) -> list[Step]:
        if not todo:
            return []
        steps: list[Step] = [
            Flush(
                collections=tuple(sorted(item.source for item in todo)),
                enabled=self._loaded.options.flush == "auto",
            )
        ]
        existing = set(self._observed.target_databases)
        steps += [
            CreateDatabase(name=name)
            for name in sorted({item.target.database for item in todo} - existing - {DEFAULT_DATABASE})
        ]
        created = {step.key for step in steps if isinstance(step, CreateDatabase)}
        copies = []
        for item in todo:
            own = self._collection_steps(item, created)
            copies += [step for step in own if isinstance(step, CopySegments)]
            steps += own
        return [*steps, self._seal(todo, copies)]

    def _seal(self, todo: list[_Item], copies: list[CopySegments]) -> SealDump:
        return SealDump(
            follows=tuple(copy.key for copy in copies),
            dump_prefix=self._dump_prefix,
            name=self._loaded.staging.backup_name,
            source_version=self._observed.source_version,
            collections=tuple(
                DumpedCollection(source=item.source, collection_id=item.collection.collection_id) for item in todo
            ),
        )

    def _collection_steps(self, item: _Item, created: set[str]) -> list[Step]:
        """The chain of one collection: each step needs the one before it, import and copy the dump's description."""
        options, label = self._loaded.options, item.target.short
        dump = DumpMeta(
            collection=label,
            needs=(FLUSH_KEY,),
            planned=_without_moving_parts(item.collection),
            source_root=self._source_root,
            may_flush=options.flush == "auto",
        )
        copy = CopySegments(
            collection=label,
            needs=(dump.key,),
            source=item.source,
            collection_id=item.collection.collection_id,
            dump_prefix=self._dump_prefix,
            mode=TransferMode(options.transfer.mode),
            concurrency=options.transfer.concurrency,
            part_size=options.transfer.part_size,
            multipart_threshold=options.transfer.multipart_threshold,
        )
        database = database_key(item.target.database)
        create = self._create(item, needs=(dump.key, *((database,) if database in created else ())))
        bring = ImportSegments(
            collection=label,
            needs=(copy.key, create.key),
            source=item.source,
            target=item.target,
            collection_id=item.collection.collection_id,
            dump_prefix=self._dump_prefix,
            max_jobs=options.import_.max_jobs,
            segments_per_job=None if options.import_.segments_per_job == "auto" else options.import_.segments_per_job,
            stall_timeout_s=options.import_.stall_timeout,
        )
        chain: list[Step] = [dump, copy, create, bring]
        if item.collection.indexes:
            chain.append(
                CreateIndex(
                    collection=label,
                    needs=(chain[-1].key,),
                    target=item.target,
                    indexes=item.collection.indexes,
                )
            )
        if load := self._load_step(item, (chain[-1].key,)):
            chain.append(load)
        if options.verify.level != "none":
            chain.append(
                VerifyCollection(
                    collection=label,
                    needs=(chain[-1].key,),
                    source=item.source,
                    target=item.target,
                    collection_id=item.collection.collection_id,
                    dump_prefix=self._dump_prefix,
                )
            )
        if item.aliases:
            chain.append(
                SwitchAlias(collection=label, needs=(chain[-1].key,), target=item.target, aliases=item.aliases)
            )
        return chain

    def _create(self, item: _Item, needs: tuple[str, ...]) -> CreateCollection:
        overrides, collection = item.selected.mapping.create, item.collection
        schema = collection.schema
        if overrides.description is not None:
            schema = replace(schema, description=overrides.description)
        properties = {**dict(collection.properties), **{k: _text(v) for k, v in overrides.properties.items()}}
        by_key = schema.has_partition_key
        level = overrides.consistency_level
        return CreateCollection(
            collection=item.target.short,
            needs=needs,
            target=item.target,
            schema=schema,
            shards_num=overrides.shards_num or collection.shards_num,
            consistency_level=_CONSISTENCY[level] if level else collection.consistency_level,
            properties=tuple(properties.items()),
            partitions=() if by_key else tuple(partition.name for partition in collection.partitions),
            num_partitions=len(collection.partitions) if by_key else None,
        )

    def _load_step(self, item: _Item, needs: tuple[str, ...]) -> LoadCollection | None:
        wish, collection = item.selected.mapping.load, item.collection
        loaded = collection.load_state is LoadState.LOADED
        if wish == "never" or (wish == "as_source" and not loaded):
            return None
        is_whole = not loaded or len(collection.loaded_partitions) == len(collection.partitions)
        return LoadCollection(
            collection=item.target.short,
            needs=needs,
            target=item.target,
            partitions=() if is_whole else collection.loaded_partitions,
            replica_number=max(1, collection.replica_number),
        )


def _has_moved(record: MigratedRecord, estimate: Estimate) -> bool:
    """Whether the source has other rows than when it was migrated; a compaction alone is no movement."""
    if estimate.rows > record.raw_rows:
        return True
    if estimate.counted_rows is None or not record.rows_at_cut:
        return estimate.rows != record.raw_rows
    return estimate.counted_rows != sum(rows for _, rows in record.rows_at_cut)


def _matches(pattern: str, ref: CollectionRef) -> bool:
    """Whether the pattern fits `database.collection`, or the collection's name alone in the default database."""
    return fnmatchcase(str(ref), pattern) or fnmatchcase(ref.short, pattern)


def _is_alias(observed: ObservedState, ref: CollectionRef) -> bool:
    """Whether the name is an alias at the target: Milvus keeps both in one name space."""
    return ref in observed.target_aliases


def _text(value: object) -> str:
    """A property's value as Milvus keeps it: text, with booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_moving_parts(collection: Collection) -> Collection:
    """The description without what may change between plan and run: it is read again when it is dumped."""
    return replace(collection, aliases=(), load_state=LoadState.NOT_LOADED, loaded_partitions=(), replica_number=0)
