"""Which aliases a target gets: at most one collection has a name, and only by word is one taken from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.collection import CollectionRef
from migrator.steps.switch_alias import AliasMove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from migrator.model.collection import Collection
    from migrator.model.observed import ObservedState
    from migrator.planning.selection import Selected
    from migrator.spec.document import Aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasPlan:
    """The aliases a target gets, those among them that are taken from others, what stays behind, what is wrong."""

    aliases: tuple[str, ...] = ()
    moves: tuple[AliasMove, ...] = ()
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()


class AliasClaims:
    """Names at the target while a plan is made: those that are taken, and those that a mapping has claimed."""

    def __init__(self, observed: ObservedState, targets: Iterable[CollectionRef]) -> None:
        self._taken = set(observed.target_aliases)
        self._owners = dict(observed.alias_owners)
        self._collections = {*observed.target_taken, *targets}
        self._claims: dict[CollectionRef, CollectionRef] = {}

    def is_taken(self, ref: CollectionRef) -> bool:
        """Whether a collection or an alias has the name, or gets it."""
        return ref in self._collections or ref in self._taken or ref in self._claims

    def reserve(self, ref: CollectionRef) -> None:
        """Keep a name for a collection."""
        self._collections.add(ref)

    def claim(self, selected: Selected, collection: Collection, *, following: tuple[str, ...] = ()) -> AliasPlan:
        """What the mapping's `aliases` makes of the source's; what it gets, no later mapping does.

        Those `following` are of the collection that is replaced, and come with its name.
        """
        wish = selected.mapping.aliases
        if wish == "none":
            left = (alias for alias in collection.aliases if alias not in following)
            return AliasPlan(lost=tuple(f"alias {alias}: aliases: none" for alias in left))
        listed = tuple(dict.fromkeys(wish)) if isinstance(wish, tuple) else collection.aliases
        wanted = tuple(alias for alias in listed if alias not in following)
        obstacles = {alias: self._obstacle(wish, CollectionRef(selected.target.database, alias)) for alias in wanted}
        got = tuple(alias for alias in wanted if not obstacles[alias])
        refs = {alias: CollectionRef(selected.target.database, alias) for alias in got}
        self._claims |= dict.fromkeys(refs.values(), selected.target)
        moves = tuple(
            AliasMove(alias=alias, owner=self._owners[refs[alias]]) for alias in got if refs[alias] in self._taken
        )
        refused = {alias: why for alias, why in obstacles.items() if why}
        return AliasPlan(
            aliases=got,
            moves=moves,
            changed=(
                *(f"alias {move.alias}: moved from {move.owner}" for move in moves),
                *(f"alias {alias}: given by the plan" for alias in got if alias not in collection.aliases),
            ),
            lost=self._lost(wish, collection, (*wanted, *following), refused),
            faults=self._faults(wish, selected.target, refused),
        )

    def _obstacle(self, wish: Aliases, ref: CollectionRef) -> str:
        """Why the mapping cannot have the name; empty where it can."""
        if ref in self._collections:
            return "the name of a collection at the target"
        if ref in self._claims:
            return f"given to {self._claims[ref].short} already"
        if ref in self._taken and (wish != "move" or ref not in self._owners):
            return "taken at the target"
        return ""

    def _lost(
        self, wish: Aliases, collection: Collection, wanted: tuple[str, ...], refused: dict[str, str]
    ) -> tuple[str, ...]:
        if isinstance(wish, tuple):
            return tuple(f"alias {alias}: not among aliases" for alias in collection.aliases if alias not in wanted)
        return tuple(f"alias {alias}: {why}" for alias, why in refused.items())

    def _faults(self, wish: Aliases, target: CollectionRef, refused: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """A list is a promise, and so is `move` but for what another mapping got."""
        if wish == "copy":
            return ()
        hints = {
            "the name of a collection at the target": "Milvus keeps both in one name space: choose another name",
            "taken at the target": "choose another name, or drop that alias; aliases: move takes the source's own",
        }
        return tuple(
            (f"the alias {alias} for {target.short} is {why}", hints.get(why, "list it in one mapping"))
            for alias, why in refused.items()
            if isinstance(wish, tuple) or why in hints
        )
