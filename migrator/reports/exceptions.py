"""What a plan changes and what does not come along, said once for all collections it is true of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.planning.plan import Action
from migrator.reports.plain import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.planning.plan import Plan

MOST_REMARKS = 20
"""So many of one kind are told, unless everything is asked for."""
_FEW = 8
"""More lines than that are gathered by what they are about, unless everything is asked for."""
_NAMES = 5
_TOPICS = {"alias": "aliases", "index": "indexes", "partition": "partitions", "property": "properties"}
"""What a remark may be about, by its first word; others are told as they are."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing told of a collection: `alias old: aliases: none`."""

    collection: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """One thing a reader has to know: of which kind, of whom, and what; `whose` is empty for the plan as a whole."""

    kind: str
    whose: str
    text: str


REPLACED, NOT_CARRIED, CHANGED, NOTE = "replaced", "not carried", "changed", "note"


def to_know(plan: Plan, *, verbose: bool) -> Iterator[Told]:
    """What has to be known of a plan, the gravest first; the same for many is told once."""
    todo = [each for each in plan.collections if each.action is Action.MIGRATE]
    replaced = [(each.label, each.replaces.in_words()) for each in todo if each.replaces is not None]
    yield from _most([Told(REPLACED, *each) for each in replaced], verbose=verbose)
    for kind, field in ((NOT_CARRIED, "not_carried"), (CHANGED, "changed"), (NOTE, "notices")):
        remarks = [Remark(each.source.short, text) for each in todo for text in getattr(each, field)]
        told = [Told(kind, each.collection, each.text) for each in told_once(remarks, verbose=verbose)]
        yield from _most(told, verbose=verbose)
    yield from (Told(NOTE, "", notice) for notice in plan.notices)


def _most(told: list[Told], *, verbose: bool) -> Iterator[Told]:
    shown = told if verbose or len(told) <= MOST_REMARKS else told[: MOST_REMARKS - 1]
    yield from shown
    if len(shown) < len(told):
        yield Told(told[0].kind, f"{len(told) - len(shown):,} more", "migrator plan -v lists them")


def told_once(remarks: Iterable[Remark], *, verbose: bool) -> Iterator[Remark]:
    """The remarks with equal ones as one; many that differ in a name alone are gathered too."""
    by_text: dict[str, list[str]] = {}
    for remark in remarks:
        by_text.setdefault(remark.text, []).append(remark.collection)
    if verbose or len(by_text) <= _FEW:
        yield from (Remark(_whose(names, verbose=verbose), text) for text, names in by_text.items())
        return
    by_topic: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for text, names in by_text.items():
        by_topic.setdefault(_topic(text), []).extend((name, text) for name in names)
    for (word, reason), found in by_topic.items():
        texts = list(dict.fromkeys(text for _, text in found))
        whose = _whose(list(dict.fromkeys(name for name, _ in found)), verbose=False)
        yield Remark(whose, texts[0] if len(texts) == 1 else f"{_many(word, texts)}{reason}")


def _topic(text: str) -> tuple[str, str]:
    """The first word, and the reason after a colon or what became of it after an arrow."""
    if text.partition(" ")[0] not in _TOPICS:
        return text, ""
    head, colon, reason = text.partition(": ")
    if colon:
        return head.partition(" ")[0], f": {reason}"
    _, arrow, new = text.partition(" → ")
    return head.partition(" ")[0], f" → {new}" if arrow else ""


def _many(word: str, texts: list[str]) -> str:
    """`12 aliases (a, b, c, d, e, …)`."""
    names = [text.removeprefix(f"{word} ").partition(": ")[0].partition(" → ")[0] for text in texts]
    listed = ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")
    return f"{count(len(texts), word, _TOPICS[word])} ({listed})"


def _whose(names: list[str], *, verbose: bool) -> str:
    if len(names) == 1:
        return names[0]
    return ", ".join(names) if verbose and len(names) <= _FEW else count(len(names), "collection")
