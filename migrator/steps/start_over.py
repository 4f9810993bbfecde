"""A collection whose source files moved while the target read them: dropped, and done anew from the listing on.

It is this run's own creation, so nothing is lost, unless somebody else has put something into it meanwhile: then it
stays, and the step is in doubt. The intention is noted before the drop; what a kill interrupts is carried on by the
next attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from migrator.errors import ListingOutdated, StepInDoubt
from migrator.steps.base import GIVE_UP
from migrator.steps.create_collection import create_key, noted_id
from migrator.steps.dump_meta import dump_key
from migrator.steps.in_place import CHECKED, forget_routes, note_movement
from migrator.steps.sent_jobs import waiting_jobs
from migrator.steps.shown_rows import shown_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.model.collection import Collection, CollectionRef
    from migrator.steps.base import StepContext

_MOVED = "moved"
"""The note of the collection that is dropped, by its id, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOver:
    """Drops `target` and sees that it is made again; `import_keys` are the steps that imported into it, own last."""

    source: CollectionRef
    target: CollectionRef
    copy_key: str
    import_keys: tuple[str, ...]
    settle: Callable[[], None]
    """Waits until no import into it is under way, nor one whose reply was lost may still turn up."""
    brought: Callable[[], int | None]
    """Tells how many rows the run's own jobs brought; None where the target has forgotten one."""

    @property
    def _own_key(self) -> str:
        return self.import_keys[-1]

    def carry_on(self, ctx: StepContext) -> None:
        """Where an earlier attempt was about to drop the collection, do so; else nothing."""
        moved = ctx.ledger.notes(self._own_key).get(_MOVED)
        if isinstance(moved, dict) and moved["collection_id"] == noted_id(ctx.ledger, self.target):
            self._drop(ctx, str(moved["reason"]))

    def begin(self, ctx: StepContext, reason: str) -> NoReturn:
        """Note the intention, and carry it out.

        Raises:
            ListingOutdated: Always, so that everything from the listing on is done anew.
        """
        own = noted_id(ctx.ledger, self.target)
        note_movement(ctx.ledger, self.source)
        ctx.ledger.note(self._own_key, {_MOVED: {"collection_id": own, "reason": reason}})
        self._drop(ctx, reason)

    def _drop(self, ctx: StepContext, reason: str) -> NoReturn:
        found = ctx.target.find_collection(self.target)
        if found is not None and found.collection_id == noted_id(ctx.ledger, self.target):
            self.settle()
            self._require_nothing_of_others(ctx, found)
            ctx.lease.require_held(self.target)
            for job in waiting_jobs(ctx.target, self.target):
                ctx.target.abort_import(self.target, job.job_id)
            ctx.target.drop_collection(self.target)
        for key in self.import_keys:
            self._forget_requests(ctx, key)
        forget_routes(ctx.ledger, self.source)
        raise ListingOutdated(
            f"the source's files moved while {self.target.short} was imported from them: {reason}; it is dropped and "
            f"done anew",
            renews=(dump_key(self.source), self.copy_key, create_key(self.target), *self.import_keys[:-1]),
            from_nothing=True,
            hint="pause compaction at the source, or set transfer.mode: auto in a new plan; migrator apply --resume "
            "tries again",
        )

    def _require_nothing_of_others(self, ctx: StepContext, found: Collection) -> None:
        """Raise where they have put something into it, which would be lost."""
        if found.aliases:
            raise self._in_doubt(f"gave it the alias {found.aliases[0]}")
        shown, brought = shown_rows(ctx, self.target), self.brought()
        if brought is not None and shown > brought:
            raise self._in_doubt(f"wrote {shown - brought:,} rows to it")

    def _in_doubt(self, what: str) -> StepInDoubt:
        return StepInDoubt(
            f"the source's files moved while {self.target.short} was imported from them, and somebody else {what}, "
            f"which would be lost if it were dropped and done anew",
            hint=f"take away what is not of this run, then run migrator apply --resume; {GIVE_UP}",
        )

    def _forget_requests(self, ctx: StepContext, key: str) -> None:
        """What was sent went into the collection that is gone; attempts go on counting, so that no tag is had twice."""
        batches = ctx.ledger.notes(key).get("batches")
        for batch in batches if isinstance(batches, list) else []:
            if isinstance(batch, dict):
                ctx.ledger.note(f"{key}:{batch['number']:04d}", {"rows": None, "was_refused": True})
        ctx.ledger.note(key, {"batches": None, CHECKED: False})
