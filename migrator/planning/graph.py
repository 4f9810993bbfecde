"""The graph of steps: what is done to each collection, and what waits for what."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from migrator.model.capabilities import capabilities
from migrator.model.collection import DEFAULT_DATABASE, ConsistencyLevel, LoadState
from migrator.planning.committing import commit_together, waits_for_all
from migrator.planning.places import claims_folder, dump_place, imports_folder, source_root
from migrator.planning.snapshot_steps import snapshot_steps, without_dumps_of_snapshots
from migrator.steps.clean_staging import CleanStaging
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_collection import UNCHECKED_FUNCTIONS, CreateCollection
from migrator.steps.create_database import CreateDatabase, database_key
from migrator.steps.create_index import CreateIndex
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.flush import FLUSH_KEY, Flush
from migrator.steps.fold_deletes import DeletesWay
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.resume_functions import ResumeFunctions
from migrator.steps.retire_predecessor import RetirePredecessor
from migrator.steps.seal_dump import DumpedCollection, SealDump
from migrator.steps.switch_alias import SwitchAlias
from migrator.steps.transfer import TransferMode
from migrator.steps.verification import Depth, Level
from migrator.steps.verify_collection import VerifyCollection, shape_asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.model.collection import Collection
    from migrator.model.observed import ObservedState
    from migrator.planning.item import PlannedItem
    from migrator.spec.loaded import LoadedPlan
    from migrator.steps.base import Step

CONSISTENCY_LEVELS = {
    "Strong": ConsistencyLevel.STRONG,
    "Session": ConsistencyLevel.SESSION,
    "Bounded": ConsistencyLevel.BOUNDED,
    "Eventually": ConsistencyLevel.EVENTUALLY,
    "Customized": ConsistencyLevel.CUSTOMIZED,
}


def build_steps(loaded: LoadedPlan, observed: ObservedState, todo: list[PlannedItem]) -> list[Step]:
    """The steps that migrate `todo`, in an order in which each comes after what it needs."""
    return without_dumps_of_snapshots(_Graph(loaded, observed).steps(todo), todo)


class _Graph:
    def __init__(self, loaded: LoadedPlan, observed: ObservedState) -> None:
        self._loaded = loaded
        self._observed = observed
        self._dump_prefix = loaded.staging.prefix.lstrip("/")
        self._source_root = source_root(loaded)
        place = dump_place(loaded)
        self._waits_for_all = False
        self._earlier_runs = tuple(sorted({r.run_id for r in observed.migrated if r.dump == place}))

    def steps(self, todo: list[PlannedItem]) -> list[Step]:
        """The run's own steps around the chains of the collections."""
        if not todo:
            return []
        self._waits_for_all = waits_for_all(self._observed, todo)
        steps: list[Step] = self._flush(todo)
        existing = set(self._observed.target_databases)
        wanted = {item.target.database for item in todo} if self._loaded.target is not None else set()
        steps += [CreateDatabase(name=name) for name in sorted(wanted - existing - {DEFAULT_DATABASE})]
        created = {step.key for step in steps if isinstance(step, CreateDatabase)}
        copies = []
        for item in todo:
            own = self._collection_steps(item, created)
            copies += [step for step in own if isinstance(step, CopySegments)]
            steps += own
        steps = commit_together(steps, compares_counts=self._loaded.options.verify.level != "none")
        steps.append(self._seal(todo, copies))
        return steps if self._loaded.staging.keep else [*steps, self._clean(todo, steps)]

    def _clean(self, todo: list[PlannedItem], steps: list[Step]) -> CleanStaging:
        """Last of all, and only if nothing failed."""
        return CleanStaging(
            needs=tuple(step.key for step in steps),
            dump_prefix=self._dump_prefix,
            claims_folder=claims_folder(self._loaded),
            collection_ids=tuple(item.collection.collection_id for item in todo),
            targets=tuple(sorted(item.target for item in todo)),
        )

    def _flush(self, todo: list[PlannedItem]) -> list[Step]:
        """Of a server: in a backup nothing grows."""
        if self._loaded.source_backup is not None:
            return []
        refs = tuple(sorted(item.source for item in todo))
        return [Flush(collections=refs, enabled=self._loaded.options.flush == "auto")]

    @property
    def _is_in_place(self) -> bool:
        """Whether segments are read where they lie: then an import may show that they have to be listed again."""
        found = self._observed.in_place
        return found is not None and not found.why_not

    def _seal(self, todo: list[PlannedItem], copies: list[CopySegments]) -> SealDump:
        imports = [f"{ImportSegments.kind}:{item.built_as}" for item in todo] if self._is_in_place else []
        return SealDump(
            follows=(*(copy.key for copy in copies), *imports),
            dump_prefix=self._dump_prefix,
            name=self._loaded.staging.backup_name,
            source_version=self._observed.source_version,
            collections=tuple(
                DumpedCollection(source=item.source, collection_id=item.collection.collection_id) for item in todo
            ),
        )

    def _collection_steps(self, item: PlannedItem, created: set[str]) -> list[Step]:
        """The chain of one collection: each step needs the one before it, import and copy the dump's description."""
        if item.snapshot is not None:
            make = partial(snapshot_steps, self._loaded, item, item.snapshot, _without_moving_parts(item.collection))
            return make(created, create=self._create, later=self._later)
        dump = self._dump(item)
        copy = self._copy(item, (dump.key,))
        if self._loaded.target is None:
            return [dump, copy]
        database = database_key(item.target.database)
        create = self._create(item, needs=(dump.key, *((database,) if database in created else ())))
        forward = self._forward(item, (copy.key,)) if self._observed.forwards else None
        brought: list[Step] = [copy] if forward is None else [copy, forward]
        chain: list[Step] = [dump, *brought, create, self._import(item, (brought[-1].key, create.key))]
        if self._imports_deletes:
            chain.append(self._import_deletes(item, (chain[-1].key,)))
        imported = chain[-1].key
        if create.pauses_functions:
            needs = (imported,)
            chain.append(ResumeFunctions(collection=item.target.short, needs=needs, target=item.built_as))
        chain += self._later(item, create, chain[-1])
        return chain if forward is None else [*chain, self._drop_forwarded(item, (imported,))]

    def _later(self, item: PlannedItem, create: CreateCollection, last: Step) -> list[Step]:
        """What is done to a collection that has its rows: each step needs the one before it."""
        chain = [last]
        makers: list[Callable[[PlannedItem, tuple[str, ...]], Step | None]]
        makers = [_index_step, load_step, partial(self._verify, create), _retire_step, _alias_step]
        for make in makers:
            if (step := make(item, (chain[-1].key,))) is not None:
                chain.append(step)
        return chain[1:]

    def _dump(self, item: PlannedItem) -> DumpMeta:
        return DumpMeta(
            collection=item.target.short,
            needs=(FLUSH_KEY,) if self._loaded.source_backup is None else (),
            planned=_without_moving_parts(item.collection),
            source_root=self._source_root,
            may_flush=self._loaded.options.flush == "auto",
            partitions=() if item.chosen == item.collection else tuple(each.name for each in item.chosen.partitions),
        )

    def _copy(self, item: PlannedItem, needs: tuple[str, ...]) -> CopySegments:
        transfer = self._loaded.options.transfer
        return CopySegments(
            collection=item.target.short,
            needs=needs,
            source=item.source,
            collection_id=item.collection.collection_id,
            source_root=self._source_root,
            dump_prefix=self._dump_prefix,
            plan=self._loaded.name,
            claims_folder=claims_folder(self._loaded),
            earlier_runs=self._earlier_runs,
            deletes=self._deletes_way(),
            source_bucket=self._loaded.source_storage.bucket,
            mode=self._mode(),
            concurrency=transfer.concurrency,
            part_size=transfer.part_size,
            multipart_threshold=transfer.multipart_threshold,
        )

    def _mode(self) -> TransferMode:
        """As the plan says, and `auto` where nothing can be read in place."""
        mode = TransferMode(self._loaded.options.transfer.mode)
        return TransferMode.AUTO if mode is TransferMode.IN_PLACE and not self._is_in_place else mode

    def _deletes_way(self) -> DeletesWay:
        """How deletes of L0 segments come to the target: as they are where it imports such segments rightly."""
        target = capabilities(self._observed.target_version)
        if self._loaded.target is None or not self._may_have_l0:
            return DeletesWay.AS_THEY_ARE
        if target.folds_l0:
            return DeletesWay.FOLDED
        return DeletesWay.AS_THEY_ARE if target.bounds_l0 else DeletesWay.FOLDED_IF_LATE

    def _forward(self, item: PlannedItem, needs: tuple[str, ...]) -> ForwardSegments:
        transfer, target = self._loaded.options.transfer, self._loaded.target
        return ForwardSegments(
            collection=item.target.short,
            needs=needs,
            source=item.source,
            collection_id=item.collection.collection_id,
            dump_prefix=self._dump_prefix,
            imports_folder=imports_folder(self._loaded),
            staging_bucket=self._loaded.staging.storage.bucket,
            target_bucket=None if target is None else target.storage.bucket,
            mode=self._mode(),
            concurrency=transfer.concurrency,
            part_size=transfer.part_size,
            multipart_threshold=transfer.multipart_threshold,
        )

    def _drop_forwarded(self, item: PlannedItem, needs: tuple[str, ...]) -> DropForwarded:
        return DropForwarded(
            collection=item.target.short,
            needs=needs,
            target=item.built_as,
            collection_id=item.collection.collection_id,
            imports_folder=imports_folder(self._loaded),
        )

    def _import(self, item: PlannedItem, needs: tuple[str, ...]) -> ImportSegments:
        options = self._loaded.options.import_
        return ImportSegments(
            collection=item.target.short,
            needs=needs,
            source=item.source,
            target=item.built_as,
            collection_id=item.collection.collection_id,
            dump_prefix=self._dump_prefix,
            imports_folder=imports_folder(self._loaded) if self._observed.forwards else "",
            max_jobs=options.max_jobs,
            segments_per_job=None if options.segments_per_job == "auto" else options.segments_per_job,
            stall_timeout_s=options.stall_timeout,
            is_committed_later=self._waits_for_all,
        )

    @property
    def _may_have_l0(self) -> bool:
        """Whether there may be L0 segments; a backup's meta names them, whatever version it tells."""
        return self._loaded.source_backup is not None or capabilities(self._observed.source_version).has_l0_segments

    @property
    def _imports_deletes(self) -> bool:
        """Whether there may be some, and the target imports them rightly."""
        return self._may_have_l0 and capabilities(self._observed.target_version).imports_l0

    def _import_deletes(self, item: PlannedItem, needs: tuple[str, ...]) -> ImportDeletes:
        """One job at a time: they meet the same rows."""
        return ImportDeletes(
            collection=item.target.short,
            needs=needs,
            source=item.source,
            target=item.built_as,
            collection_id=item.collection.collection_id,
            dump_prefix=self._dump_prefix,
            imports_folder=imports_folder(self._loaded) if self._observed.forwards else "",
            max_jobs=1,
            stall_timeout_s=self._loaded.options.import_.stall_timeout,
        )

    def _verify(self, create: CreateCollection, item: PlannedItem, needs: tuple[str, ...]) -> VerifyCollection | None:
        verify = self._loaded.options.verify
        if verify.level == "none":
            return None
        return VerifyCollection(
            collection=item.target.short,
            needs=needs,
            source=item.source,
            target=item.built_as,
            collection_id=item.collection.collection_id,
            dump_prefix=self._dump_prefix,
            depth=Depth(level=Level(verify.level), sample=verify.sample, seed=verify.seed),
            load_source=verify.load_source,
            shape=shape_asked(create, item.indexes),
        )

    def _create(self, item: PlannedItem, needs: tuple[str, ...]) -> CreateCollection:
        overrides, collection = item.selected.mapping.create, item.collection
        schema = collection.schema
        if overrides.description is not None:
            schema = replace(schema, description=overrides.description)
        properties = {**dict(collection.properties), **{k: property_text(v) for k, v in overrides.properties.items()}}
        by_key = schema.has_partition_key
        level = overrides.consistency_level
        return CreateCollection(
            collection=item.target.short,
            needs=needs,
            target=item.built_as,
            schema=schema,
            shards_num=overrides.shards_num or collection.shards_num,
            consistency_level=CONSISTENCY_LEVELS[level] if level else collection.consistency_level,
            properties=tuple(properties.items()),
            partitions=() if by_key else tuple(partition.name for partition in item.chosen.partitions),
            num_partitions=len(collection.partitions) if by_key else None,
            pauses_functions=schema.asks_models
            and UNCHECKED_FUNCTIONS not in properties
            and capabilities(self._observed.target_version).disables_functions,
        )


def _index_step(item: PlannedItem, needs: tuple[str, ...]) -> CreateIndex | None:
    if not item.indexes:
        return None
    return CreateIndex(
        collection=item.target.short, needs=needs, target=item.built_as, indexes=item.indexes, source=item.source
    )


def load_step(item: PlannedItem, needs: tuple[str, ...]) -> LoadCollection | None:
    """The step that loads the target as the source is or the plan says; None where it stays unloaded."""
    loading = item.loading
    if not loading.is_wanted:
        return None
    return LoadCollection(
        collection=item.target.short,
        needs=needs,
        target=item.built_as,
        partitions=loading.partitions,
        replica_number=loading.replica_number,
        resource_groups=loading.resource_groups,
    )


def _retire_step(item: PlannedItem, needs: tuple[str, ...]) -> RetirePredecessor | None:
    if item.replaces is None:
        return None
    return RetirePredecessor(
        collection=item.target.short,
        needs=needs,
        target=item.target,
        temporary=item.replaces.temporary,
        retired=item.replaces.retired,
        predecessor_id=item.replaces.collection_id,
    )


def _alias_step(item: PlannedItem, needs: tuple[str, ...]) -> SwitchAlias | None:
    if not item.aliases:
        return None
    return SwitchAlias(
        collection=item.target.short, needs=needs, target=item.target, aliases=item.aliases, moves=item.moves
    )


def property_text(value: object) -> str:
    """A property's value as Milvus keeps it: text, with booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_moving_parts(collection: Collection) -> Collection:
    """The description without what may change between plan and run: it is read again when it is dumped."""
    return replace(
        collection,
        aliases=(),
        load_state=LoadState.NOT_LOADED,
        loaded_partitions=(),
        replica_number=0,
        resource_groups=(),
    )
