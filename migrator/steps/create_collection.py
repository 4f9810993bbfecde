"""`create_collection`: an empty collection with the source's schema and partitions, known to be this run's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from migrator.errors import MilvusRefused, SchemaDiffers, StepInDoubt
from migrator.model.collection import Collection, CollectionRef, CollectionSchema, ConsistencyLevel, KeyValues
from migrator.steps.base import GIVE_UP, Evidence, Outcome, Step

if TYPE_CHECKING:
    from migrator.ports.ledger import LedgerReader
    from migrator.ports.milvus import MilvusReader
    from migrator.steps.base import ReadContext, StepContext


UNCHECKED_FUNCTIONS = "disable_func_runtime_check"
"""A collection's property: functions that ask a model are not checked."""


def create_key(target: CollectionRef) -> str:
    """The key of the step that creates `target`."""
    return f"{CreateCollection.kind}:{target}"


def noted_id(ledger: LedgerReader, target: CollectionRef) -> int | None:
    """The id of the collection this run created as `target`, as noted."""
    noted = ledger.notes(create_key(target)).get("collection_id")
    return noted if isinstance(noted, int) else None


def require_own(ctx: StepContext, target: CollectionRef) -> Collection:
    """The target collection, or `StepInDoubt` where it is not the one this run created."""
    found = ctx.target.find_collection(target)
    if found is None or found.collection_id != noted_id(ctx.ledger, target):
        fate = "is gone" if found is None else "is another collection now"
        raise StepInDoubt(
            f"collection {target.short}, which this run created at the target, {fate}",
            hint=f"see who dropped or replaced {target.short}; this run leaves it alone",
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCollection(Step):
    """Create `target` with `schema`; `partitions` are explicit ones, `num_partitions` those of a partition key."""

    kind: ClassVar[str] = "create_collection"
    target: CollectionRef
    schema: CollectionSchema
    shards_num: int
    consistency_level: ConsistencyLevel
    properties: KeyValues = ()
    partitions: tuple[str, ...] = ()
    num_partitions: int | None = None
    pauses_functions: bool = False
    """Whether those that ask a model are not checked until `resume_functions`."""

    @property
    def key(self) -> str:
        """By the target collection."""
        return create_key(self.target)

    def describe(self) -> str:
        """What it does, in a few words."""
        shards = f"{self.shards_num} shard{'' if self.shards_num == 1 else 's'}"
        parts = self.num_partitions or len(self.partitions)
        dynamic = ", dynamic field" if self.schema.enable_dynamic_field else ""
        noun = f"{parts} partition{'' if parts == 1 else 's'}"
        return f"create {self.target.short}: {len(self.schema.fields)} fields{dynamic}, {shards}, {noun}"

    def probe(self, ctx: ReadContext) -> Evidence:
        """Done when the noted id stands under the name with every partition."""
        own = noted_id(ctx.ledger, self.target)
        found = None if own is None else ctx.target.find_collection(self.target)
        if found is None or found.collection_id != own:
            return Evidence.ABSENT
        missing = set(self.partitions) - {partition.name for partition in found.partitions}
        return Evidence.ABSENT if missing else Evidence.DONE

    def apply(self, ctx: StepContext, evidence: Evidence) -> Outcome:
        """Create it, or take up the one an earlier attempt created; then its partitions."""
        is_there = noted_id(ctx.ledger, self.target) is not None
        found = require_own(ctx, self.target) if is_there else self._create(ctx)
        for name in self.partitions:
            if all(partition.name != name for partition in found.partitions):
                ctx.target.create_partition(self.target, name)
        return Outcome(detail=f"collection id {found.collection_id}")

    def _create(self, ctx: StepContext) -> Collection:
        """Note that the name was free, create, and note the id once what stands there can only be ours; that."""
        found = ctx.target.find_collection(self.target)
        absent_ts = self.notes(ctx).get("absent_ts")
        if found is None:
            ctx.lease.require_held(self.target)
            if not isinstance(absent_ts, int):  # the earliest bounds them all: a lost request may come about late
                absent_ts = ctx.target.allocate_timestamp()
                self.note(ctx, absent_ts=absent_ts)
            self._request(ctx)
            found = ctx.target.find_collection(self.target)
        if found is not None and isinstance(absent_ts, int) and self._add_fields(ctx, found):
            found = ctx.target.find_collection(self.target)
        if found is None or not isinstance(absent_ts, int):
            raise StepInDoubt(
                f"collection {self.target.short} is at the target, and this run did not create it",
                hint=f"see whose {self.target.short} is; drop it and resume; {GIVE_UP}",
            )
        self.require_ours(ctx.target, found, absent_ts)
        self.note(ctx, collection_id=found.collection_id)
        return found

    def _add_fields(self, ctx: StepContext, found: Collection) -> bool:
        """Add the fields that come after `$meta`, in their order, to what was created without them."""
        added = self.schema.added_fields
        there = {each.name for each in found.schema.fields}
        missing = [each for each in added if each.name not in there]
        kept = len(added) - len(missing)
        so_far = replace(self.schema, fields=(*self.schema.before_additions.fields, *added[:kept]))
        if not missing or found.schema != so_far or found.created_ts < self._absent_ts(ctx):
            return False
        for each in missing:
            ctx.target.add_field(self.target, each)
        return True

    def _absent_ts(self, ctx: StepContext) -> int:
        noted = self.notes(ctx).get("absent_ts")
        return noted if isinstance(noted, int) else 0

    def _request(self, ctx: StepContext) -> None:
        try:
            ctx.target.create_collection(
                self.target,
                self.schema.before_additions,
                shards_num=self.shards_num,
                num_partitions=self.num_partitions,
                consistency_level=self.consistency_level,
                properties=(*self.properties, *(((UNCHECKED_FUNCTIONS, "true"),) if self.pauses_functions else ())),
            )
        except MilvusRefused:
            if ctx.target.find_collection(self.target) is None:
                raise

    def require_ours(self, target: MilvusReader, found: Collection, absent_ts: int) -> None:
        """Raise unless what was found can only be what was asked for after `absent_ts`, when the name was free.

        Raises:
            StepInDoubt: It is older, or not empty.
            SchemaDiffers: It is not what was asked for.
        """
        if found.created_ts < absent_ts or target.list_segments(self.target):
            raise StepInDoubt(
                f"collection {self.target.short} appeared at the target and is not the one this run asked for",
                hint=f"see who created {self.target.short}; this run leaves it alone",
            )
        if found.schema != self.schema or found.shards_num != self.shards_num:
            raise SchemaDiffers(
                f"the target created {self.target.short} with another schema than it was asked for "
                f"({_first_difference(self.schema, found.schema)})",
                hint="the server changed something by itself; drop the empty collection and report this",
            )


def _first_difference(wanted: CollectionSchema, found: CollectionSchema) -> str:
    for a, b in zip(wanted.fields, found.fields, strict=False):
        if a != b:
            return f"field {a.name!r}, id {a.field_id}, became {b.name!r}, id {b.field_id}"
    return "its fields agree" if wanted.fields == found.fields else "the number of fields differs"
