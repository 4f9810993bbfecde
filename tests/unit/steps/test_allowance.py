"""How many requests may be under way: what grows by one, and is halved."""

from __future__ import annotations

import threading

import pytest

from migrator.errors import MilvusBusy, MilvusRefused
from migrator.steps.abreast import abreast
from migrator.steps.allowance import Allowance, Share


def fill(share: Share) -> list[int]:
    places = []
    while (place := share.find_place()) is not None:
        places.append(place)
    return places


def test_a_refusal_halves_it_and_windows_that_go_well_add_one_each() -> None:
    allowance = Allowance(16)
    with allowance.join() as share:
        share.refused(fill(share)[0])
        assert allowance.limit == 8
        for expected in (9, 10, 11):
            while allowance.limit < expected:
                share.passed(share.take_place())
        assert allowance.limit == 11
        for _ in range(1000):
            share.passed(share.take_place())
        assert allowance.limit == 16, "never more than it began with"


def test_what_is_refused_together_is_one_refusal() -> None:
    allowance = Allowance(16)
    with allowance.join() as share:
        for place in fill(share):
            share.refused(place)
        assert allowance.limit == 8
        for _ in range(10):
            share.refused(share.take_place())
        assert allowance.limit == 1, "there is always one"


def test_many_take_equal_parts_and_one_alone_takes_all() -> None:
    allowance = Allowance(8)
    with allowance.join() as first:
        held = fill(first)
        assert len(held) == 8
        with allowance.join() as second:
            assert second.find_place() is None, "all are taken"
            first.passed(held.pop())
            assert first.find_place() is None, "it has more than its part"
            assert second.find_place() is not None
        assert first.find_place() is not None, "the other gave back what it held"
    assert allowance.inside == 0


def test_answers_come_in_their_order() -> None:
    assert abreast(lambda number: number * 2, range(100)) == [number * 2 for number in range(100)]


def test_requests_go_side_by_side_until_it_is_too_much() -> None:
    guard, inside, most = threading.Lock(), 0, 0
    waits: list[float] = []
    ready = threading.Barrier(4, timeout=10)

    def call(number: int) -> int:
        nonlocal inside, most
        with guard:
            inside += 1
            most, refuse = max(most, inside), inside > 2
        if number < 4 and not waits and not ready.broken:
            ready.wait()
        with guard:
            inside -= 1
        if refuse:
            raise MilvusBusy("rate limit exceeded")
        return number

    assert abreast(call, range(40), most=4, pause=waits.append) == list(range(40))
    assert most == 4
    assert waits


def test_a_refusal_that_is_none_of_rates_comes_through() -> None:
    def call(number: int) -> int:
        if number == 3:
            raise MilvusRefused("no")
        return number

    with pytest.raises(MilvusRefused):
        abreast(call, range(10))
