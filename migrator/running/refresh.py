"""Reading both sides into an observed state; nothing is written, and nothing is loaded."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from migrator.errors import BackupUnreadable, Complaint, MilvusRefused, ObjectMissing, PlanError, StoreRefused
from migrator.model.collection import DEFAULT_RESOURCE_GROUP, CollectionRef
from migrator.model.observed import Estimate, ObservedAccess, ObservedCollection, ObservedState, ObservedTarget
from migrator.model.segment import STORAGE_V2, LogKind, SegmentState, parse_binlog
from migrator.model.snapshot import ObservedSnapshots
from migrator.model.way import Choice, Way
from migrator.planning.partitions import with_chosen_partitions
from migrator.planning.places import claims_folder, dump_place, is_apart, source_root
from migrator.planning.selection import Selected, Selection, select
from migrator.ports.backup import as_backup
from migrator.running.canary_marker import SCRATCH
from migrator.running.in_place_survey import with_in_place
from migrator.running.refresh_backup import doubts, left_behind, unrestorable, unrestorable_collection
from migrator.running.roots import find_root_of
from migrator.running.stray_files import StrayFiles
from migrator.spec.places import is_same_store
from migrator.steps.abreast import abreast
from migrator.steps.backup_tree import backed_up_ts, find_files
from migrator.steps.counting import WHOLE, count_named, count_partitions
from migrator.steps.dump_claim import read_claims
from migrator.steps.import_segments import PARTITION_REQUEST_BYTES
from migrator.steps.seal_dump import find_entries, full_meta_key
from migrator.steps.transfer import choose_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from migrator.model.collection import Collection, ResourceGroup
    from migrator.model.observed import MigratedRecord
    from migrator.model.segment import Segment, StoredObject
    from migrator.ports.backup import BackupReader
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.store import ObjectReader
    from migrator.spec.loaded import LoadedPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The clients of a refresh; reader ports, so that it cannot write."""

    source: MilvusReader
    target: MilvusReader | None
    """None where the plan has no target; so the next but one."""
    source_store: ObjectReader
    target_store: ObjectReader | None
    staging: ObjectReader


@dataclass(slots=True)
class _Inventory:
    """What a collection's folders hold of its live segments."""

    objects: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """One object more."""
        self.objects += 1
        self.size_bytes += size_bytes


def refresh(loaded: LoadedPlan, readers: Readers, migrated: Sequence[MigratedRecord]) -> ObservedState:
    """What both sides hold of all that the plan file names.

    Raises:
        MilvusError, StoreError: A side cannot be reached, or refuses to be read.
    """
    return with_in_place(loaded, readers, _Refresh(loaded, readers, migrated).observe())


def source_names(source: MilvusReader) -> tuple[CollectionRef, ...]:
    """All collections of all databases, but for the scratch ones of a preflight."""
    return tuple(
        CollectionRef(database, name)
        for database in source.list_databases()
        for name in source.list_collections(database)
        if not name.startswith(SCRATCH)
    )


class _Refresh:
    def __init__(self, loaded: LoadedPlan, readers: Readers, migrated: Sequence[MigratedRecord]) -> None:
        self._loaded = loaded
        self._readers = readers
        self._migrated = tuple(migrated)
        self._source_root = source_root(loaded)
        self._target_root = loaded.target.storage.root_path.strip("/") if loaded.target else ""
        self._dump_prefix = loaded.staging.prefix.lstrip("/")
        self._findings: list[Complaint] = []
        self._need_snapshots: dict[CollectionRef, str] = {}
        self._sample: StoredObject | None = None
        """A file that would be copied."""

    def observe(self) -> ObservedState:
        """Names first, then what the mappings select of them."""
        readers = self._readers
        # A wrong bucket or key is told apart from an empty place; a key may be bound to just these folders.
        readers.source_store.list_folders(self._loaded.source_prefix)
        readers.staging.list_folders(self._dump_prefix)
        names = self._names()
        selection = select(self._loaded, names)
        self._check_encryption(selection)
        collections = self._collections(selection.items)
        same_milvus = not self._is_backup and self._is_same_milvus(collections)
        if not self._is_backup:
            self._check_roots(collections, same_milvus=same_milvus)
        dumped, moment, copies = self._dumped(), self._backed_up_ts(names), self._copies()
        observed = ObservedState(
            source_version=readers.source.version(),
            target_version="",
            source_names=names,
            source=collections,
            target_databases=(),
            target_names=(),
            target_aliases=(),
            target_taken=(),
            same_milvus=same_milvus,
            dump_collections=dumped,
            backed_up_ts=moment,
            migrated=self._migrated,
            findings=tuple(self._findings),
            notices=self._notices(),
            need_snapshots=tuple(self._need_snapshots.items()),
            copies=copies,
            forwards=self._forwards(),
        )
        return observed if readers.target is None else self._with_target(observed, readers.target, selection)

    def _with_target(self, observed: ObservedState, target: MilvusReader, selection: Selection) -> ObservedState:
        databases = target.list_databases()
        wanted = sorted({item.target.database for item in selection.items} & set(databases))
        taken = tuple(CollectionRef(each, name) for each in wanted for name in target.list_collections(each))
        aliases = _target_aliases(target, wanted)
        return replace(
            observed,
            snapshots=self._snapshots(observed, target),
            target_version=target.version(),
            target_databases=databases,
            target_names=_target_names(target, selection, taken),
            target_aliases=aliases,
            alias_owners=tuple(_alias_owners(target, selection, observed.source, set(aliases))),
            resource_groups=_resource_groups(target, observed.source),
            target_taken=taken,
            access=_access(self._readers.source, target, databases) if self._tells_access else None,
        )

    @property
    def _tells_access(self) -> bool:
        """Where it is asked for, and the source has something to tell."""
        backup = as_backup(self._readers.source)
        return self._loaded.options.rbac and (backup is None or backup.info.rbac_meta.is_told)

    def _find(self, field: str, message: str, hint: str, value: str | None = None) -> None:
        position = self._loaded.locate(field)
        self._findings.append(Complaint(message, field=field, hint=hint, value=value, position=position))

    # -- the source -------------------------------------------------------------------------------------------------

    @property
    def _is_backup(self) -> bool:
        return as_backup(self._readers.source) is not None

    def _names(self) -> tuple[CollectionRef, ...]:
        try:
            return source_names(self._readers.source)
        except BackupUnreadable as error:
            field = "source.backup.name"
            position = self._loaded.locate(field)
            raise PlanError([Complaint(error.message, field=field, hint=error.hint, position=position)]) from error

    def _check_encryption(self, selection: Selection) -> None:
        """Files of an encrypted database are of no use without its key; a backup's are complained about as a whole."""
        for database in sorted({item.source.database for item in selection.items} if not self._is_backup else ()):
            if self._readers.source.is_encrypted(database):
                self._find(
                    "source",
                    f"the database {database} of the source is encrypted, and its files cannot be read elsewhere",
                    "leave its collections out with `exclude`",
                )

    def _collections(self, items: Iterable[Selected]) -> tuple[ObservedCollection, ...]:
        """Each looked at by one of its own, many at a time: what they find is told in the order of the plan file."""

        def look(item: Selected) -> tuple[_Refresh, ObservedCollection | None]:
            own = _Refresh(self._loaded, self._readers, self._migrated)
            return own, own._collection(item)

        looked = abreast(look, items)
        for own, _ in looked:
            self._findings += own._findings  # noqa: SLF001 - as above
            self._need_snapshots |= own._need_snapshots  # noqa: SLF001 - as above
            self._sample = self._sample or own._sample  # noqa: SLF001 - as above
        return tuple(found for _, found in looked if found is not None)

    def _collection(self, item: Selected) -> ObservedCollection | None:
        source = self._readers.source
        try:
            collection = source.find_collection(item.source)
            if collection is None:
                return None
            if (backup := as_backup(source)) is not None:
                return self._backed_up(item, collection, backup)
            chosen = with_chosen_partitions(item.mapping.partitions, collection)
            listed = source.list_segments(item.source)
            self._check_storage_versions(item, listed)
            strays = StrayFiles(source, chosen)
            estimate = self._estimate(chosen, listed, strays)
            return ObservedCollection(collection=collection, estimate=estimate, notices=tuple(strays.notices()))
        except MilvusRefused as error:
            self._find("source", error.message, error.hint)
        except (BackupUnreadable, ObjectMissing) as error:
            self._find(f"{item.mapping.field}.source", error.message, error.hint)
        return None

    def _check_storage_versions(self, item: Selected, listed: Iterable[Segment]) -> None:
        """Segments may be of several, and each has to be one that the target reads, or that can be copied at all."""
        source, target = self._readers.source, self._readers.target
        if not source.capabilities.reports_storage_version:
            return
        readable = {0, STORAGE_V2} if target is None else target.capabilities.storage_versions_readable
        found = sorted({segment.storage_version for segment in listed} - readable)
        for version in found:
            if version > STORAGE_V2:
                why = f"has segments of storage version {version}, which no import reads"
                self._need_snapshots[item.source] = why
                continue
            self._find(
                f"{item.mapping.field}.source",
                f"{item.source.short} has segments of storage version {version}, which {self._target_version} does "
                f"not read",
                "choose a newer target, or leave it out with `exclude`",
            )

    # -- a source that is a backup ----------------------------------------------------------------------------------

    def _backed_up(self, item: Selected, collection: Collection, backup: BackupReader) -> ObservedCollection | None:
        info = backup.get_backup(item.source)
        reasons = list(unrestorable_collection(info, self._target_version))
        for reason in reasons:
            hint = "restore it into a newer Milvus, or leave it out with `exclude`"
            self._find(f"{item.mapping.field}.source", f"{item.source.short} cannot be restored: {reason}", hint)
        if reasons:
            return None
        files = find_files(self._readers.source_store, self._source_root, info)
        by_partition: dict[int, _Inventory] = defaultdict(_Inventory)
        for binlog in files.binlogs:
            by_partition[binlog.partition_id].add(binlog.source.size_bytes)
            self._sample = self._sample or binlog.source
        left_out = f"{files.left_out:,} files that the backup's meta does not name stay out"
        return ObservedCollection(
            collection=collection,
            estimate=self._summed(files.segments, by_partition, {}),
            notices=(*doubts(info), *((left_out,) if files.left_out else ())),
        )

    @property
    def _target_version(self) -> str:
        return "" if self._readers.target is None else self._readers.target.version()

    def _notices(self) -> tuple[str, ...]:
        backup = as_backup(self._readers.source)
        return () if backup is None else tuple(left_behind(backup.info, wants_access=self._loaded.options.rbac))

    def _backed_up_ts(self, names: Sequence[CollectionRef]) -> int | None:
        """The earliest moment of its collections; whatever is wrong with the backup as a whole is a finding."""
        backup = as_backup(self._readers.source)
        if backup is None:
            return None
        for reason in unrestorable(backup.info, self._target_version):
            self._find("source.backup.name", reason, "restore it into a Milvus that can read it")
        moments = [backed_up_ts(backup.get_backup(ref)) for ref in names]
        return min(filter(None, moments), default=0)

    # -- estimates --------------------------------------------------------------------------------------------------

    def _estimate(self, collection: Collection, listed: Iterable[Segment], strays: StrayFiles) -> Estimate:
        """Of the partitions that the collection is told to have."""
        here = {partition.partition_id for partition in collection.partitions}
        segments = [s for s in listed if s.num_rows > 0 and s.partition_id in here]
        strays.begin(segments)
        by_partition = self._inventory(collection, segments, strays)
        flushed = [s for s in segments if s.state is SegmentState.FLUSHED]
        self._check_source_root(collection, flushed, by_partition)
        counts = count_partitions(self._readers.source, collection)
        found = self._summed(segments, by_partition, counts)
        return replace(found, import_requests=found.import_requests + self._fresh(collection, segments, counts))

    def _fresh(self, collection: Collection, segments: Sequence[Segment], counts: Mapping[str, int]) -> int:
        """Partitions that will only have a segment once the run has flushed."""
        if self._loaded.options.flush == "never":
            return 0
        stored = {collection.partition_name(segment.partition_id) for segment in segments}
        growing = {name for name, rows in counts.items() if rows} - stored
        return len(growing - {WHOLE} if stored else growing)

    def _summed(
        self, segments: Sequence[Segment], by_partition: dict[int, _Inventory], counts: Mapping[str, int]
    ) -> Estimate:
        sizes = [inventory.size_bytes for inventory in by_partition.values()]
        return Estimate(
            segments=len(segments),
            rows=sum(segment.num_rows for segment in segments),
            objects=sum(inventory.objects for inventory in by_partition.values()),
            size_bytes=sum(sizes),
            largest_partition_bytes=max(sizes, default=0),
            import_requests=self._requests(segments, by_partition),
            counted_rows=sum(counts.values()) if counts else None,
        )

    def _inventory(
        self, collection: Collection, segments: Iterable[Segment], strays: StrayFiles
    ) -> dict[int, _Inventory]:
        live = {segment.segment_id for segment in segments}
        found: dict[int, _Inventory] = defaultdict(_Inventory)
        for kind in LogKind:
            prefix = f"{self._source_root}/{kind}/{collection.collection_id}".lstrip("/")
            for entry in self._readers.source_store.list_objects(prefix):
                binlog = parse_binlog(entry, self._source_root)
                if binlog is not None and binlog.segment_id in live and strays.counts(binlog):
                    found[binlog.partition_id].add(entry.size_bytes)
                    self._sample = self._sample or entry
        return found

    def _requests(self, segments: Iterable[Segment], by_partition: dict[int, _Inventory]) -> int:
        """One import request per partition, or one per segment where a partition is too big for one."""
        counts: dict[int, int] = defaultdict(int)
        for segment in segments:
            counts[segment.partition_id] += 1
        limit = self._loaded.options.import_.segments_per_job
        return sum(
            1
            if by_partition[partition_id].size_bytes <= PARTITION_REQUEST_BYTES and (limit == "auto" or count <= limit)
            else count
            for partition_id, count in counts.items()
        )

    # -- root paths -------------------------------------------------------------------------------------------------

    def _check_source_root(
        self, collection: Collection, flushed: Sequence[Segment], by_partition: dict[int, _Inventory]
    ) -> None:
        """Segments that the source reports have to lie below its root path; else look where they do lie."""
        if not flushed or by_partition or collection.ref in self._need_snapshots:
            return
        folder = f"{LogKind.INSERT}/{collection.collection_id}"
        message = (
            f"{collection.ref.short} has {len(flushed)} segments at the source, and none of their files lies under "
            f"{self._source_root}/{folder}/ in {self._readers.source_store.place}"
        )
        is_local = self._loaded.source_storage.provider == "local"  # where a whole disk would be searched
        likely = None if is_local else find_root_of(self._readers.source_store, collection.collection_id)
        hint = (
            f"set it to {likely or repr(likely)}, where they lie"
            if likely is not None
            else "see minio.rootPath and minio.bucketName in the source's milvus.yaml"
        )
        self._find("source.storage.root_path", message, hint, self._loaded.source_storage.root_path)

    def _check_roots(self, collections: Sequence[ObservedCollection], *, same_milvus: bool) -> None:
        """Two instances that share a root path overwrite one another: seen by the source's files under the target's."""
        storage, staging = self._loaded.source_storage, self._loaded.staging.storage
        if storage.bucket == staging.bucket and all(observed.estimate.objects == 0 for observed in collections):
            self._refuse_staging_inside()  # nothing is stored yet that could prove that the places differ
        for observed in collections:
            if observed.estimate.objects == 0:
                continue
            self._check_staging(observed.collection)
            if same_milvus or self._readers.target_store is None:
                return
            folder = f"{self._target_root}/{LogKind.INSERT}/{observed.collection.collection_id}".lstrip("/")
            try:
                found = next(iter(self._readers.target_store.list_objects(folder)), None)
            except StoreRefused:
                return
            if found is not None:
                self._find(
                    "target.storage.root_path",
                    f"the files of the source's {observed.collection.ref.short} lie under the target's root path: "
                    f"both sides seem to use one place",
                    "name the root path of the target Milvus itself",
                    self._target_root,
                )
            return

    def _check_staging(self, collection: Collection) -> None:
        """A dump below the source's root path would be written into the source: seen by its files through staging."""
        folder = f"{self._source_root}/{LogKind.INSERT}/{collection.collection_id}".lstrip("/")
        if next(iter(self._readers.staging.list_objects(folder)), None) is not None:
            self._refuse_staging_inside()

    def _refuse_staging_inside(self) -> None:
        if f"{self._dump_prefix}/".startswith(f"{self._source_root}/"):
            self._find(
                "staging.root_path",
                f"the dump would lie in {self._source_root}/, which is the source Milvus's own root path",
                "choose a staging.root_path outside of it",
                self._loaded.staging.root_path,
            )

    # -- which way files go -----------------------------------------------------------------------------------------

    def _copies(self) -> Choice | None:
        """How files would come into the dump, by what staging shows of one of them."""
        mode = self._loaded.options.transfer.mode
        if self._sample is None or mode == "stream":
            return None
        choice = choose_way(self._readers.staging, self._loaded.source_storage.bucket, self._sample)
        if choice.way is Way.STREAM and mode == "server_side":
            message = f"staging cannot copy the source's files by itself: {choice.reason}"
            self._find("options.transfer.mode", message, "set it to auto or stream", mode)
        return choice

    def _forwards(self) -> bool:
        """Whether the target's store is another than staging's: different addresses may lead to one bucket."""
        target, staging = self._readers.target_store, self._readers.staging
        if target is None or not is_apart(self._loaded):
            return False
        shows = ((target, staging, self._target_root), (staging, target, self._dump_prefix))
        return not any(_is_shown(one, other, folder) for one, other, folder in shows)

    def _snapshots(self, observed: ObservedState, target: MilvusReader) -> ObservedSnapshots | None:
        """What both sides answer; only those whose versions may have snapshots are asked."""
        source, chosen = self._readers.source, self._loaded.options.transfer.format
        can = source.capabilities.snapshots and target.capabilities.snapshots and not self._is_backup
        if chosen == "binlogs" or not can or not observed.source:
            return None
        return ObservedSnapshots(
            at_source=source.takes_snapshots(observed.source[0].collection.ref),
            at_target=target.restores_elsewhere(),
            shares_store=self._shares_store(),
        )

    def _shares_store(self) -> bool:
        """Whether the target's store shows a file of the source; without any, what the plan file says of both."""
        store, sample, target = self._readers.target_store, self._sample, self._loaded.target
        if store is None or target is None:
            return False
        if sample is None:
            return is_same_store(self._loaded.source_storage, target.storage)
        with suppress(StoreRefused):
            return store.find_object(sample.key) == sample
        return False

    # -- the target -------------------------------------------------------------------------------------------------

    def _is_same_milvus(self, collections: Sequence[ObservedCollection]) -> bool:
        """Whether both sides are one Milvus: the same collection has the same id and creation time at both."""
        target = self._readers.target
        for observed in collections if target is not None else ():
            ours = observed.collection
            if target is None or ours.ref.database not in target.list_databases():
                return False
            theirs = target.find_collection(ours.ref)
            return theirs is not None and (theirs.collection_id, theirs.created_ts) == (
                ours.collection_id,
                ours.created_ts,
            )
        return False

    # -- the dump ---------------------------------------------------------------------------------------------------

    def _dumped(self) -> tuple[tuple[int, str], ...]:
        """What a finished dump under the plan's name lists; anything there that is not of this plan is a finding."""
        staging = self._readers.staging
        place = dump_place(self._loaded)
        own = {record.run_id for record in self._migrated if record.dump == place}
        for claim in read_claims(staging, claims_folder(self._loaded)):
            if claim.run_id not in own:
                self._find(
                    "staging.backup_name",
                    f"the dump {self._dump_prefix}/ belongs to run {claim.run_id} of plan {claim.plan}",
                    "choose another staging.backup_name; an unfinished run is given up with migrator rollback",
                    self._loaded.staging.backup_name,
                )
                return ()
        first = next(iter(staging.list_objects(self._dump_prefix)), None)
        if first is None:
            return ()
        key = full_meta_key(self._dump_prefix)
        if not own or staging.find_object(key) is None:
            self._find(
                "staging.backup_name",
                f"{self._dump_prefix}/ holds objects that no finished run of this plan put there, such as {first.key}",
                "choose another staging.backup_name, or look at it with migrator backup list, and delete it with "
                "migrator backup delete",
                self._loaded.staging.backup_name,
            )
            return ()
        try:
            listed = find_entries(staging, self._dump_prefix) or []
        except BackupUnreadable as error:
            self._find("staging.backup_name", error.message, error.hint, self._loaded.staging.backup_name)
            return ()
        return tuple((entry["collection_id"], entry.get("collection_name", "")) for entry in listed)


def _is_shown(one: ObjectReader, other: ObjectReader, folder: str) -> bool:
    """Whether the first object that one client finds in a folder is there for the other too, size and ETag alike."""
    with suppress(StoreRefused):
        found = next(iter(one.list_objects(folder)), None)
        return found is not None and other.find_object(found.key) == found
    return False


def _target_names(
    target: MilvusReader, selection: Selection, taken: Sequence[CollectionRef]
) -> tuple[ObservedTarget, ...]:
    """Of the names some mapping aims at, those that are taken."""
    found = []
    replaced = {item.target for item in selection.items if item.mapping.if_exists == "replace"}
    refs = sorted({item.target for item in selection.items} & set(taken))
    for ref, collection in zip(refs, abreast(target.find_collection, refs), strict=True):
        if collection is not None:
            counts = count_named(target, ref) if ref in replaced else {}
            found.append(
                ObservedTarget(
                    ref=ref,
                    collection_id=collection.collection_id,
                    created_ts=collection.created_ts,
                    rows=sum(counts.values()) if counts else None,
                    aliases=collection.aliases,
                )
            )
    return tuple(found)


def _alias_owners(
    target: MilvusReader,
    selection: Selection,
    collections: Sequence[ObservedCollection],
    taken: set[CollectionRef],
) -> Iterator[tuple[CollectionRef, str]]:
    """Of the aliases that some mapping would move, whose they are."""
    found = {observed.collection.ref: observed.collection for observed in collections}
    wanted = {
        CollectionRef(item.target.database, alias)
        for item in selection.items
        if item.mapping.aliases == "move" and item.source in found
        for alias in found[item.source].aliases
    }
    for ref in sorted(wanted & taken):
        owner = target.find_alias(ref)
        if owner is not None:
            yield ref, owner


def _resource_groups(target: MilvusReader, collections: Sequence[ObservedCollection]) -> tuple[ResourceGroup, ...]:
    """The target's, where a source has several replicas, or a group of its own; none where they are not told."""
    usual = {(), (DEFAULT_RESOURCE_GROUP,)}
    if all(observed.collection.resource_groups in usual for observed in collections):
        return ()
    with suppress(MilvusRefused):
        return target.list_resource_groups()
    return ()


def _target_aliases(target: MilvusReader, databases: Iterable[str]) -> tuple[CollectionRef, ...]:
    return tuple(
        sorted(CollectionRef(database, alias) for database in databases for alias in target.list_aliases(database))
    )


def _access(source: MilvusReader, target: MilvusReader, databases: Iterable[str]) -> ObservedAccess:
    return ObservedAccess(
        source=source.read_rbac(),
        target=target.read_rbac(),
        target_names=tuple(
            CollectionRef(database, name)
            for database in databases
            for name in (*target.list_collections(database), *target.list_aliases(database))
        ),
    )
