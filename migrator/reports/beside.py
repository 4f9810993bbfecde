"""What is told beside a plan, and is no part of it: how long it takes, and what has changed since an earlier one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from migrator.planning.bottleneck import find_bottleneck
from migrator.planning.pace import Pace, works_of
from migrator.reports.exceptions import Remark, told_once
from migrator.reports.plain import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from migrator.planning.bottleneck import Bottleneck
    from migrator.planning.changes import Change, PlanChanges, Totals
    from migrator.planning.pace import Expected
    from migrator.planning.plan import Plan

MOST_TOLD = 12
"""More lines of one kind are summed up unless everything is asked for."""
_PLAN = "the plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """An earlier plan, called `origin`, and what has changed since."""

    origin: str
    changes: PlanChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """How long the plan takes, each collection by itself by its label, and what has changed."""

    expected: Expected
    each: Mapping[str, Expected]
    against: Against | None = None
    bottleneck: Bottleneck | None = None


@dataclass(frozen=True, slots=True)
class ToldChange:
    """One thing that has changed, under a sign: `+` came, `-` went, `~` is another, `=` moved and changes nothing."""

    sign: str
    text: str


def beside(plan: Plan, pace: Pace | None = None, against: Against | None = None) -> Beside:
    """What is known of a plan by itself; without a pace, how long it takes is a guess."""
    works, known = works_of(plan), pace or Pace()
    return Beside(
        expected=known.left(works),
        each=known.each(works),
        against=against,
        bottleneck=find_bottleneck(works, known),
    )


def time_text(expected: Expected) -> str:
    """`6 s to 49 s (a guess: no run yet)`."""
    return f"{range_text(expected)} ({expected.rests_on})"


def bottleneck_text(bottleneck: Bottleneck) -> str:
    """`the target's imports, about 60 % of the work`."""
    whose = f", {bottleneck.collection}" if bottleneck.collection else ""
    return f"{bottleneck.what}{whose}, about {round(100 * bottleneck.share)} % of the work"


def range_text(expected: Expected) -> str:
    """`6 s to 49 s`."""
    fast, slow = duration(expected.fast_s), duration(expected.slow_s)
    return fast if fast == slow else f"{fast} to {slow}"


# -- what has changed -------------------------------------------------------------------------------------------------


def heading(against: Against) -> str:
    """What it was compared with, and whether that does the same."""
    same = "does the same as" if against.changes.does_the_same else "has changed since"
    return f"This plan {same} {against.origin}"


def told_changes(against: Against, *, most: int | None = MOST_TOLD) -> Iterator[ToldChange]:
    """Every change, in the order a reviewer asks for it; at most so many of one kind."""
    changes = against.changes
    yield from _few("~", changes.places, most)
    yield from _few("+", changes.added, most)
    yield from _few("-", changes.removed, most)
    yield from _few("~", changes.renamed, most)
    yield from _few("~", _remarks(changes.changed, "{whose}: {text}", most), most)
    yield from _few("~", _remarks(changes.risks, "new risk ({whose}): {text}", most), most)
    yield from _few("=", _remarks(changes.risks_gone, "risk gone ({whose}): {text}", most), most)
    yield from _few("~", [f"access: {text}" for text in changes.access], most)
    yield from _few("=", changes.moved, most)
    if changes.then != changes.now:
        yield ToldChange("=", f"in all {_totals(changes.now)}; then {_totals(changes.then)}")


def _few(sign: str, texts: Iterable[str], most: int | None) -> Iterator[ToldChange]:
    listed = list(texts)
    shown = listed if most is None or len(listed) <= most else listed[: most - 1]
    yield from (ToldChange(sign, text) for text in shown)
    if len(shown) < len(listed):
        yield ToldChange(sign, f"… and {len(listed) - len(shown):,} more")


def _remarks(changes: Iterable[Change], form: str, most: int | None) -> list[str]:
    remarks = [Remark(each.collection or _PLAN, each.text) for each in changes]
    found = told_once(remarks, verbose=most is None)
    return [form.format(whose=each.collection, text=each.text) for each in found]


def _totals(totals: Totals) -> str:
    parts = [count(totals.collections, "collection"), count(totals.rows, "row"), count(totals.objects, "object")]
    imports = [count(totals.import_requests, "import request")] if totals.import_requests else []
    return ", ".join([*parts, size(totals.size_bytes), *imports])


# -- JSON -------------------------------------------------------------------------------------------------------------


def beside_to_plain(beside: Beside) -> dict[str, Any]:
    """As members of the plan's JSON; never of a saved plan's, which is the same whatever was run before."""
    against = beside.against
    return {
        "expected": {**_expected(beside.expected), "rests_on": beside.expected.rests_on, "runs": beside.expected.runs},
        "expected_each": {label: _expected(each) for label, each in beside.each.items()},
        "bottleneck": None if beside.bottleneck is None else _bottleneck(beside.bottleneck),
        "against": None if against is None else _against(against),
    }


def _expected(expected: Expected) -> dict[str, float]:
    return {"fast_s": round(expected.fast_s, 1), "slow_s": round(expected.slow_s, 1)}


def _bottleneck(bottleneck: Bottleneck) -> dict[str, Any]:
    return {
        "what": bottleneck.what,
        "collection": bottleneck.collection,
        "seconds": round(bottleneck.seconds, 1),
        "share": round(bottleneck.share, 3),
    }


def _against(against: Against) -> dict[str, Any]:
    changes = against.changes
    return {"origin": against.origin, "does_the_same": changes.does_the_same, **asdict(changes)}
