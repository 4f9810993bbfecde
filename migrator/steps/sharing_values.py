"""Values compared by the workers of an engine: what is sent to them, and what a run makes of their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.shard import ValuesAnswer, ValuesShard
from migrator.steps.comparing_values import Valued
from migrator.steps.sharding import error_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.model.collection import Collection, CollectionSchema
    from migrator.model.rows import Key
    from migrator.ports.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedValues:
    """What the workers of `engine` need to know of two loaded collections."""

    engine: Engine
    source_is: Collection
    target_is: Collection
    schema: CollectionSchema
    level: str

    @property
    def width(self) -> int:
        """How many shards are compared at a time."""
        return self.engine.width

    def shard(self, partition: str, keys: Sequence[Key], named_before: int) -> ValuesShard:
        """For some keys."""
        return ValuesShard(
            source_is=self.source_is,
            target_is=self.target_is,
            schema=self.schema,
            level=self.level,
            partition=partition,
            keys=tuple(keys),
            named_before=named_before,
        )


def answer_of(answer: ValuesAnswer) -> Valued:
    """What was found; where nothing was, the error that a worker told of is raised."""
    if answer.failure is not None:
        raise error_of(answer.failure)
    return Valued(repeated=answer.repeated, routed=answer.routed, differences=answer.differences)
