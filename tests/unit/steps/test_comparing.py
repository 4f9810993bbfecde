"""Two sides held against each other: every difference is found and named, none is invented."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from itertools import count, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import MilvusUnavailable
from migrator.model.codec import from_plain, to_plain
from migrator.model.difference import KEPT, DifferenceKind, Differences, show_key
from migrator.model.rows import Sample
from migrator.steps.comparing import BATCH_KEYS, Compared, RowComparison, merge_keys
from tests.support.builders import FakeClock, a_schema
from tests.support.sides import FakeSide

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.model.rows import Key
    from tests.support.sides import Row

ALL = Sample(7, 1.0)


def a_comparison(
    source: FakeSide,
    target: FakeSide,
    *,
    sample: Sample = ALL,
    put_down: Callable[[Compared], None] = lambda _: None,
    page_s: float = 0,
) -> RowComparison:
    """One in which every page takes a while."""
    clock = FakeClock()

    def progress(message: str = "", **_: object) -> None:  # noqa: ARG001 - of the protocol
        clock.sleep(page_s)

    return RowComparison(
        source=source,
        target=target,
        schema=a_schema(),
        partitions=tuple(sorted(source.rows)),
        sample=sample,
        clock=clock,
        progress=progress,
        put_down=put_down,
    )


def vector(*components: float) -> bytes:
    return struct.pack(f"<{len(components)}f", *components)


def row(key: Key, title: str = "one", x: float = 1.0) -> Row:
    return key, (title.encode(), vector(x, 2.0))


def told(compared: Compared) -> list[str]:
    return [str(each) for each in compared.differences.shown]


def test_equal_sides_have_no_difference() -> None:
    rows = [row(key) for key in range(10)]
    compared = a_comparison(FakeSide({"p": rows}), FakeSide({"p": rows[::-1]}, page=4)).run(Compared())
    assert not compared.differences
    assert (compared.source_keys, compared.target_keys, compared.rows_valued) == (10, 10, 10)
    assert compared.source_digest == compared.target_digest


def test_every_kind_of_difference_is_named() -> None:
    source = FakeSide({"p": [row(1), row(2), row(3), row(4), row(5)], "q": [row(9)]})
    changed = struct.pack("<I", struct.unpack("<I", vector(1.0))[0] ^ 1) + vector(2.0)
    target = FakeSide({"p": [row(1), row(2, "two"), (3, (b"one", changed)), row(5), row(6), row(9)], "q": []})
    compared = a_comparison(source, target).run(Compared())
    assert sorted(told(compared)) == [
        "row 2 in partition 'p': title is 'one' at the source, 'two' at the target",
        "row 3 in partition 'p': vec is 1 (component 0) at the source, 1.00000012 (component 0) at the target",
        "row 4 in partition 'p' is missing at the target",
        "row 6 in partition 'p' is only at the target",
        "row 9 in partition 'p' is only at the target",
        "row 9 in partition 'q' is missing at the target",
    ]


def test_a_key_that_both_sides_have_twice_is_counted_and_no_difference() -> None:
    source, target = FakeSide({"p": [row(1, "a"), row(1, "b")]}), FakeSide({"p": [row(1, "b"), row(1, "a")]})
    compared = a_comparison(source, target).run(Compared())
    assert (compared.differences.total, compared.repeated, compared.rows_valued) == (0, 1, 0)


def test_a_key_that_one_side_has_twice_is_a_difference() -> None:
    source, target = FakeSide({"p": [row(1, "a")]}), FakeSide({"p": [row(1, "a"), row(1, "b")]})
    compared = a_comparison(source, target).run(Compared())
    assert told(compared) == ["row 1 in partition 'p' is there once at the source, 2 times at the target"]


def test_only_the_sample_is_looked_at_and_all_keys_are() -> None:
    sample = Sample.of(50, 1000, seed=7)
    rows = [row(key) for key in range(1000)]
    source, target = FakeSide({"p": rows}, page=100), FakeSide({"p": rows[:-1]}, page=90)
    compared = a_comparison(source, target, sample=sample).run(Compared())
    assert compared.rows_valued == sum(sample.takes(key) for key in range(999))
    assert told(compared) == ["row 999 in partition 'p' is missing at the target"]
    assert all(keys <= BATCH_KEYS for _, keys in source.asked)


def test_what_is_kept_is_bounded_and_what_is_counted_is_not() -> None:
    source = FakeSide({"p": [row(key) for key in range(500)]}, page=100)
    target = FakeSide({"p": [row(key, "other") for key in range(500)]}, page=100)
    compared = a_comparison(source, target).run(Compared())
    assert compared.differences.total == 500
    assert len(compared.differences.shown) == KEPT
    assert sum(keys for what, keys in source.asked if what == "values") < 200


def test_a_field_that_the_target_lacks_is_left_to_the_comparison_of_schemas() -> None:
    source = FakeSide({"p": [row(1)]})
    target = FakeSide({"p": [(1, (vector(1.0, 2.0),))]}, field_names=("vec",))
    assert not a_comparison(source, target).run(Compared()).differences


rows_of_a_side = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.sampled_from([0.0, -0.0, 1.0])), max_size=14
)


def sides(ours: list[tuple[int, str, float]], theirs: list[tuple[int, str, float]]) -> list[FakeSide]:
    return [
        FakeSide({"p": [row(*each) for each in side if each[0] % 2], "q": [row(*each) for each in side]}, page=page)
        for side, page in ((ours, 2), (theirs, 3))
    ]


def expected(source: FakeSide, target: FakeSide) -> Counter[tuple[DifferenceKind, str, str]]:
    """What is to be found, told by looking at everything at once."""
    found: Counter[tuple[DifferenceKind, str, str]] = Counter()
    for partition in source.rows:
        ours, theirs = dict(source.rows[partition]), dict(target.rows[partition])
        copies = [Counter(key for key, _ in side.rows[partition]) for side in (source, target)]
        for key in ours.keys() | theirs.keys():
            if key not in theirs:
                found[DifferenceKind.MISSING, partition, show_key(key)] += 1
            elif key not in ours:
                found[DifferenceKind.EXTRA, partition, show_key(key)] += 1
            elif ours[key] != theirs[key] and copies[0][key] != copies[1][key]:
                found[DifferenceKind.COPIES, partition, show_key(key)] += 1
            elif copies[0][key] == copies[1][key] == 1:
                unequal = sum(a != b for a, b in zip(ours[key], theirs[key], strict=True))
                if unequal:
                    found[DifferenceKind.VALUE, partition, show_key(key)] += unequal
    return found


@given(rows_of_a_side, rows_of_a_side)
def test_whatever_rows_there_are_all_differences_are_found_and_no_others(
    ours: list[tuple[int, str, float]], theirs: list[tuple[int, str, float]]
) -> None:
    source, target = sides(ours, theirs)
    compared = a_comparison(source, target).run(Compared())
    wanted = expected(source, target)
    if all(sum(n for (kind, _, _), n in wanted.items() if kind is each) <= KEPT for each in DifferenceKind):
        assert Counter((d.kind, d.partition, d.key) for d in compared.differences.shown) == wanted
    assert compared.differences.total == sum(wanted.values())


def in_order(compared: Compared) -> Compared:
    """With its differences in one order; which come first depends on how many rows are asked for at a time."""
    shown, totals = sorted(compared.differences.shown, key=str), sorted(compared.differences.totals)
    return replace(compared, differences=Differences(shown=tuple(shown), totals=tuple(totals)))


@given(rows_of_a_side, rows_of_a_side, st.integers(1, 9), st.sampled_from([0, 2, 6]))
def test_interrupted_anywhere_and_taken_up_again_the_result_is_the_same(
    ours: list[tuple[int, str, float]], theirs: list[tuple[int, str, float]], calls: int, page_s: float
) -> None:
    source, target = sides(ours, theirs)
    whole = a_comparison(source, target).run(Compared())
    noted: list[object] = [to_plain(Compared())]
    for attempt in count(calls):  # a little further each time
        source.calls_left = attempt
        try:
            keep = lambda now: noted.append(to_plain(now))  # noqa: E731 - a line
            again = a_comparison(source, target, put_down=keep, page_s=page_s).run(from_plain(Compared, noted[-1]))
        except MilvusUnavailable:
            continue
        break
    assert in_order(again) == in_order(whole)


def test_what_was_compared_before_an_interruption_is_not_asked_again() -> None:
    rows = [row(key) for key in range(30)]
    source, target = FakeSide({"p": rows}, calls_left=8), FakeSide({"p": rows})
    noted: list[Compared] = []
    with pytest.raises(MilvusUnavailable):
        a_comparison(source, target, put_down=noted.append, page_s=6).run(Compared())
    assert noted[-1].source_keys > 0
    source.calls_left, source.asked = None, []
    a_comparison(source, target).run(noted[-1])
    assert sum(keys for what, keys in source.asked if what == "prints") == 30 - noted[-1].source_keys


@given(st.sets(st.text()), st.sets(st.text()), st.integers(1, 4), st.integers(1, 4))
def test_streams_of_text_are_merged_in_their_order(ours: set[str], theirs: set[str], one: int, other: int) -> None:
    def pages(keys: set[str], size: int) -> list[list[Key]]:
        listed: list[Key] = list(sorted(keys))  # noqa: C413 - of a wider type
        return [listed[start : start + size] for start in range(0, len(listed), size)]

    windows = list(merge_keys(pages(ours, one), pages(theirs, other)))
    assert [key for _, a, _ in windows for key in a] == sorted(ours)
    assert [key for _, _, b in windows for key in b] == sorted(theirs)
    assert all(set(a) | set(b) for _, a, b in windows)
    for (bound, _, _), (_, a, b) in pairwise(windows):
        assert all(key > bound for key in (*a, *b))  # type: ignore[operator]  # text alone
