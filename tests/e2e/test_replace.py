"""`if_exists: replace` on real servers: looked at, allowed, done, killed in the renames, undone, cleaned up."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import sources
from tests.support.arrivals import Pair, assert_arrived
from tests.support.cli import SECRET, Shell
from tests.support.deaths import read_struck
from tests.support.portraits import connected, portray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench
    from tests.support.portraits import Portrait

NEW_ROWS, OLD_ROWS = 150, 60
SETTLE_S = "8"


@dataclass(frozen=True, slots=True)
class Place:
    """A collection at both sides under one name: the target's is older, loaded, has an alias, and still grows."""

    bench: Bench
    shell: Shell
    name: str

    @classmethod
    def make(cls, bench: Bench, folder: Path, name: str) -> Place:
        """Fill both sides, and write a plan that replaces the one by the other."""
        sources.fill_small(bench.a.uri, name, rows=NEW_ROWS + 5, deleted=5)
        sources.fill_small(bench.b.uri, name, rows=OLD_ROWS - 10, deleted=0)
        with connected(bench.b.uri) as client:
            client.insert(name, sources.plain_rows(1000, 1010))
            client.create_alias(name, f"{name}_live")
        place = cls(bench, Shell(folder, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET}), name)
        place.write_plan(name)
        return place

    def write_plan(self, plan: str) -> str:
        """A plan file with a dump of its own; its name."""
        file = f"{plan}.yaml"
        self.shell.write(
            file,
            f"version: 1\nname: {plan.replace('_', '-')}\nclusters: {self.bench.clusters_file}\nsource: a\ntarget: b\n"
            f"staging: {{backup_name: {plan}}}\ndefaults: {{if_exists: replace}}\ncollections: [{self.name}]\n",
        )
        return file

    @property
    def there(self) -> dict[str, tuple[int, tuple[str, ...], int, str]]:
        """The target's collections of this name and those made of it: id, aliases, rows, load state."""
        found = {}
        with connected(self.bench.b.uri) as client:
            for name in client.list_collections():
                if name.startswith(self.name):
                    told = client.describe_collection(name)
                    rows = client.query(name, "", output_fields=["count(*)"], consistency_level="Strong")
                    state = client.get_load_state(name)["state"].name
                    found[name] = (told["collection_id"], tuple(sorted(told["aliases"])), rows[0]["count(*)"], state)
        return found

    def old(self) -> Portrait:
        """What the alias shows."""
        return portray(self.bench.b.uri, self.name)

    def assert_replaced(self, before: dict[str, tuple[int, tuple[str, ...], int, str]]) -> str:
        """The source's rows under the name, with the alias; the old one as it was, under the name that comes back."""
        (old_id, _, rows, state) = before[self.name]
        kept = f"{self.name}_retired_{old_id}"
        after = self.there
        assert set(after) == {self.name, kept}
        assert after[kept] == (old_id, (), rows, state)
        assert after[self.name][1:3] == ((f"{self.name}_live",), NEW_ROWS)
        assert_arrived(self.bench, [Pair(self.name, self.name)])
        return kept


@dataclass(slots=True)
class Reader:
    """An application that counts by the alias all the time."""

    counts: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextmanager
def reading(uri: str, name: str) -> Iterator[Reader]:
    """Read for as long as the block lasts."""
    reader, is_over = Reader(), threading.Event()

    def read() -> None:
        with connected(uri) as client:
            while not is_over.is_set():
                try:
                    found = client.query(name, "", output_fields=["count(*)"], consistency_level="Bounded")
                    reader.counts.append(found[0]["count(*)"])
                except Exception as error:  # noqa: BLE001 - whatever an application sees
                    reader.failures.append(str(error))
                time.sleep(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield reader
    finally:
        is_over.set()
        thread.join()


def test_a_loaded_collection_with_an_alias_is_replaced_undone_and_cleaned_up(bench: Bench, tmp_path: Path) -> None:
    place = Place.make(bench, tmp_path, "replaced_once")
    shell, file, before = place.shell, "replaced_once.yaml", place.there
    old = place.old()

    plan = shell.run("plan", file).out
    assert f"replaces collection {before[place.name][0]} ({OLD_ROWS} rows, created 20" in plan
    assert f"kept as {place.name}_retired_{before[place.name][0]} until migrator clean" in plan
    assert f"its aliases answer all the time, and follow after the renames: {place.name}_live" in plan
    refused = shell.run("apply", file, "--yes", code=2)
    assert f"the plan replaces {place.name}, which --yes does not cover: add --allow-replace" in refused.err
    assert place.there == before

    with reading(bench.b.uri, f"{place.name}_live") as reader:
        shell.run("apply", file, "--yes", "--allow-replace")
    assert reader.failures == []
    assert reader.counts == sorted(reader.counts)
    assert {*reader.counts} == {OLD_ROWS, NEW_ROWS}
    place.assert_replaced(before)
    assert "Nothing to do" in shell.run("apply", file, "--yes").out
    assert "equal" in shell.run("verify", file).out
    (run,) = (path.name for path in (tmp_path / ".migrator" / "runs").iterdir())

    undone = shell.run("rollback", run, "--yes").out
    assert f"~ predecessor {place.name}_retired_{before[place.name][0]}  gets its name back" in undone
    assert place.there == before
    assert place.old() == old

    file = place.write_plan("replaced_again")
    shell.run("apply", file, "--yes", "--allow-replace")
    kept = place.assert_replaced(before)
    assert f"- collection {kept}  was {place.name} until run replaced-again" in shell.run("clean", file, "--yes").out
    assert set(place.there) == {place.name}
    assert "Nothing to delete" in shell.run("clean", file).out
    (again,) = (path.name for path in (tmp_path / ".migrator" / "runs").glob("replaced-again-*"))
    assert "migrator clean has deleted" in shell.run("rollback", again, "--yes", code=20).out
    assert set(place.there) == {place.name}
    shell.run("rollback", again, "--yes", "--force")
    assert place.there == {}


@pytest.mark.timeout(900)
def test_a_replacement_killed_at_every_point_of_the_renames_and_of_their_undoing(bench: Bench, tmp_path: Path) -> None:
    place = Place.make(bench, tmp_path, "replaced_mortal")
    shell, before = place.shell, place.there

    def die(command: tuple[str, ...], kinds: str) -> set[tuple[str, str]]:
        struck = tmp_path / f"{command[0]}.jsonl"
        variables: dict[str, Any] = {"DEATHS_FILE": str(struck), "DEATHS_KINDS": kinds, "DEATHS_SETTLE_S": SETTLE_S}
        answer = shell.start(*command, program="tests.support.deaths", **variables).finish(within_s=800)
        assert answer.code == 0, answer.text
        return {(point.what.split(" MainThread")[0], point.moment) for point in read_struck(struck)}

    command = ("apply", "replaced_mortal.yaml", "--resume", "--yes", "--allow-replace")
    points = die(command, "retire_predecessor")
    for what in ("started", "rename_collection away", "rename_collection in", "alter_alias", "finished"):
        assert {(what, "before"), (what, "after")} <= points
    place.assert_replaced(before)
    (run,) = (path.name for path in (tmp_path / ".migrator" / "runs").iterdir())
    points = die(("rollback", run, "--yes"), "run,")
    for what in ("rename_collection back", "alter_alias", "drop_collection"):
        assert {(what, "before"), (what, "after")} <= points
    assert place.there == before


def test_of_two_plans_for_one_target_the_second_is_stale(bench: Bench, tmp_path: Path) -> None:
    """What it wanted to replace has been replaced while it waited for the lease."""
    place = Place.make(bench, tmp_path, "replaced_twice")
    before, other = place.there, place.write_plan("replaced_other")
    first = place.shell.start("apply", "replaced_twice.yaml", "--yes", "--allow-replace", "--format", "json")
    first.wait_for_event("step_started", "flush")
    first.process.send_signal(signal.SIGSTOP)
    try:
        second = place.shell.start("apply", other, "--yes", "--allow-replace", "--format", "json")
        second.wait_for_event("lock_waits")
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert first.finish().code == 0
    refused = second.finish()
    assert refused.code == 12, refused.text
    assert f"{place.name} is not what it was when it was planned to replace it" in refused.err
    kept = place.assert_replaced(before)
    place.shell.run("apply", other, "--yes", "--allow-replace")
    assert set(place.there) == {place.name, kept, f"{place.name}_retired_{_id_of(place, before)}"}


def _id_of(place: Place, before: dict[str, tuple[int, tuple[str, ...], int, str]]) -> int:
    """The one that the first plan brought, and the second retired."""
    retired = [name for name in place.there if "_retired_" in name]
    (found,) = {int(name.rpartition("_")[2]) for name in retired} - {before[place.name][0]}
    return found
