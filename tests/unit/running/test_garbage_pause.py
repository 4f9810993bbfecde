"""The pause of garbage collection lasts as long as what it is for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition

import pytest

from migrator.errors import MilvusRefused, MilvusUnavailable
from migrator.running import garbage_pause
from migrator.running.garbage_pause import GarbagePause

WITHIN_S = 10


@dataclass
class FakeGarbage:
    """Remembers what it is asked; says no while `error` is set."""

    error: MilvusRefused | MilvusUnavailable | None = None
    asked: list[str] = field(default_factory=list)
    heard: Condition = field(default_factory=Condition)

    def pause(self, seconds: int) -> None:
        """Note it."""
        self._note(f"pause {seconds}")

    def resume(self) -> None:
        """Note it."""
        self._note("resume")

    def _note(self, what: str) -> None:
        with self.heard:
            self.asked.append(what)
            self.heard.notify_all()
        if self.error is not None:
            raise self.error

    def wait_for(self, count: int) -> None:
        """Until so much was asked."""
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.asked) >= count, WITHIN_S)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_pause, "RENEW_S", 0.001)


def test_it_is_renewed_and_given_back_on_every_way_out() -> None:
    garbage = FakeGarbage()
    with suppress(KeyboardInterrupt), GarbagePause(garbage, is_required=True, tell=pytest.fail):
        garbage.wait_for(3)
        raise KeyboardInterrupt
    assert set(garbage.asked[:-1]) == {"pause 300"}
    assert garbage.asked[-1] == "resume"


def test_a_server_without_it_is_told_of_once_and_left_alone() -> None:
    garbage, told = FakeGarbage(MilvusRefused("http://a:9091 knows no pause")), list[str]()
    with GarbagePause(garbage, is_required=False, tell=told.append):
        pass
    assert told == ["the source's garbage collection is not paused: http://a:9091 knows no pause"]
    assert garbage.asked == ["pause 300"]


def test_where_it_is_required_nothing_begins_without_it() -> None:
    with pytest.raises(MilvusRefused), GarbagePause(FakeGarbage(MilvusRefused("no")), is_required=True, tell=print):
        pytest.fail("begun")


def test_an_outage_is_told_once_and_a_later_renewal_comes_through() -> None:
    garbage, told = FakeGarbage(), list[str]()
    with GarbagePause(garbage, is_required=True, tell=told.append):
        garbage.error = MilvusUnavailable("no answer")
        garbage.wait_for(len(garbage.asked) + 5)
        garbage.error = None
        garbage.wait_for(len(garbage.asked) + 3)
    assert told == ["the pause of the source's garbage collection could not be renewed: no answer"]
    assert garbage.asked[-1] == "resume"
