"""Plan file and observed state to a plan: a pure function, so that the same input gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from migrator.errors import Complaint, PlanError
from migrator.model.codec import to_plain
from migrator.model.collection import CollectionRef
from migrator.planning.compatibility import unsupported_source, unsupported_target
from migrator.planning.graph import build_steps
from migrator.planning.item import PlannedItem
from migrator.planning.places import dump_place
from migrator.planning.plan import Action, Plan, Side, digest_of, step_to_plain
from migrator.planning.selection import Selected, select
from migrator.planning.telling import cut_notices, tell, verification_notices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.collection import Collection
    from migrator.model.observed import MigratedRecord, ObservedCollection, ObservedState, ObservedTarget
    from migrator.spec.document import Cluster
    from migrator.spec.loaded import LoadedPlan


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
        steps = tuple(build_steps(self._loaded, self._observed, todo))
        plan = Plan(
            name=self._loaded.name,
            description=self._loaded.description,
            source=self._side(self._loaded.source, self._observed.source_version),
            target=self._side(self._target, self._observed.target_version),
            dump=dump_place(self._loaded),
            collections=tuple(tell(item, self._records.get((item.source, item.target))) for item in items),
            notices=self._notices(todo) if todo else (),
            steps=steps,
            digest="",
        )
        return replace(plan, digest=self._digest(plan))

    def _notices(self, todo: list[PlannedItem]) -> tuple[str, ...]:
        return (*cut_notices(self._loaded), *verification_notices(self._loaded, self._observed, todo))

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

    def _item(self, selected: Selected, observed: ObservedCollection) -> PlannedItem:
        record = self._records.get((selected.source, selected.target))
        taken = self._taken.get(selected.target)
        action = self._action(selected, observed, record, taken)
        if action is not Action.MIGRATE:
            return PlannedItem(selected=selected, observed=observed, action=action, aliases=())
        self._check_dump(selected, observed.collection)
        self._check_load(selected, observed.collection)
        aliases = self._claim_aliases(selected, observed.collection)
        return PlannedItem(selected=selected, observed=observed, action=action, aliases=aliases)

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


def _matches(pattern: str, ref: CollectionRef) -> bool:
    """Whether the pattern fits `database.collection`, or the collection's name alone in the default database."""
    return fnmatchcase(str(ref), pattern) or fnmatchcase(ref.short, pattern)


def _is_alias(observed: ObservedState, ref: CollectionRef) -> bool:
    """Whether the name is an alias at the target: Milvus keeps both in one name space."""
    return ref in observed.target_aliases
