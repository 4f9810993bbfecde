"""Neighbours held against each other, and the parameters that make an index find them."""

from __future__ import annotations

import math

import pytest

from migrator.model.collection import Index
from migrator.ports.milvus import Hit
from migrator.steps.searching import Overlap, missed, overlap, search_params


def hits(*found: tuple[int, float]) -> list[Hit]:
    return [Hit(key, score) for key, score in found]


def an_index_of(kind: str, params: str = "{}") -> Index:
    return Index(field_name="v", name="i", params=(("index_type", kind), ("metric_type", "L2"), ("params", params)))


def test_the_share_of_common_neighbours() -> None:
    ours, theirs = hits((1, 0.1), (2, 0.2), (3, 0.3)), hits((1, 0.1), (4, 0.15), (3, 0.3))
    assert overlap(ours, ours) == 1
    assert overlap(ours, theirs) == pytest.approx(2 / 3)
    assert overlap(ours, []) == 0
    assert overlap([], []) == 1


def test_neighbours_as_far_away_as_the_last_are_the_same() -> None:
    """Which of many equally far ones comes is chance."""
    assert overlap(hits((1, 0.5), (2, 0.5)), hits((3, 0.5), (4, 0.5))) == 1
    assert overlap(hits((1, math.nan), (2, math.nan)), hits((3, math.nan), (4, math.nan))) == 1


@pytest.mark.parametrize(
    ("index", "params"),
    [
        (an_index_of("HNSW", '{"M":16}'), {"ef": 512}),
        (an_index_of("IVF_FLAT", '{"nlist":"64"}'), {"nprobe": 64}),
        (an_index_of("BIN_IVF_FLAT", '{"nlist":16}'), {"nprobe": 16}),
        (an_index_of("SCANN", '{"nlist":32}'), {"nprobe": 32}),
        (an_index_of("DISKANN"), {"search_list": 200}),
        (an_index_of("FLAT"), {}),
        (an_index_of("AUTOINDEX"), {}),
    ],
)
def test_an_index_is_searched_thoroughly(index: Index, params: dict[str, int]) -> None:
    assert search_params(index) == params


def test_less_than_enough_is_a_difference() -> None:
    assert Overlap(field="v", searches=20, share=0.8, missed=(0.0, 0.2)).difference() is None
    assert str(Overlap(field="v", searches=20, share=0.5, missed=(0.0, 0.5)).difference()) == (
        "searches by v: 50% of the nearest 10 are the same, over 20 searches"
    )


def test_an_index_that_loses_neighbours_at_the_source_too_is_no_difference() -> None:
    """A graph of few links is another one each time it is built, and so are codes learnt from a sample."""
    lossy = Overlap(field="v", searches=20, share=0.6, missed=(0.2, 0.25))
    assert lossy.difference() is None
    assert str(lossy) == (
        "20 searches by v found 60% of the nearest 10 at both sides, as its index loses some at the source too"
    )
    assert Overlap(field="v", searches=20, share=0.1, missed=(0.2, 0.9)).difference() is not None


def test_only_nearer_neighbours_are_missed() -> None:
    ours, theirs = hits((1, 0.1), (2, 0.2), (3, 0.3)), hits((1, 0.1), (4, 0.15), (5, 0.4))
    assert missed(ours, theirs, larger_is_nearer=False) == pytest.approx(1 / 3)
    assert missed(theirs, ours, larger_is_nearer=False) == pytest.approx(2 / 3)
    assert missed([], ours, larger_is_nearer=False) == 1
    assert missed(ours, ours[:2], larger_is_nearer=False) == 0
    assert missed(hits((1, 0.9), (2, 0.8)), hits((3, 0.95), (4, 0.7)), larger_is_nearer=True) == 0.5
