"""How soon the end of something at the target is noticed."""

from __future__ import annotations

import pytest

from migrator.steps.waiting import next_look_s


@pytest.mark.parametrize("took_s", [0.3, 1.0, 2.1, 4.0])
def test_what_is_over_soon_is_noticed_within_a_tenth_of_its_time(took_s: float) -> None:
    looked_at = 0.0
    while looked_at < took_s:
        looked_at += next_look_s(looked_at)
    assert looked_at - took_s <= max(0.1, 0.1 * took_s)


def test_what_takes_minutes_is_looked_at_twice_a_second() -> None:
    assert next_look_s(600.0) == 0.5
