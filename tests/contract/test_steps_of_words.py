"""A migration in which every word of a mapping departs from the usual: killed at every point, with one end.

Two of three partitions come along, indexes become others, an alias is taken from another collection, one is given that
the source has not, and the dump is deleted at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.model.collection import CollectionRef
from migrator.running.journal import Journal
from migrator.steps.registry import STEP_KINDS
from migrator.steps.switch_alias import former_owners
from tests.contract.test_steps import FILMS, Undisturbed, World, a_source, described, rows_of, strikes
from tests.support.builders import BOOKS, create
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.builders import Pair

OLD, NEW, FILMS_BAK = (CollectionRef("default", name) for name in ("books_old", "books_new", "films_bak"))
WORDS = """
  - {source: books, target: books_new, partitions: [old, "e*"], indexes: auto, aliases: move}
  - source: db1.films
    target: films_bak
    indexes: [{field: vec, index_type: IVF_FLAT, metric_type: L2, params: {nlist: 16}, name: v}]
    load: always
    aliases: [cinema]
"""
KEEP = "staging: {keep: false}\n"
KINDS = ["dump_meta", "copy_segments", "seal_dump", "create_index", "load_collection", "switch_alias", "clean_staging"]


def a_worded_pair() -> Pair:
    """What `a_source` holds and an empty partition; the alias of books is another collection's at the target."""
    pair = a_source()
    pair.source.create_partition(BOOKS, "empty")
    create(pair.target, OLD)
    pair.target.create_alias(OLD, "library")
    return pair


def what_is_left(pair: Pair) -> dict[str, object]:
    """The target, and all that lies under the dump's place and beside it."""
    state: dict[str, object] = {"objects": sorted([*pair.keys("backup"), *pair.keys(".migrator")])}
    for name in pair.target.list_collections("default"):
        ref = CollectionRef("default", name)
        found = pair.target.find_collection(ref)
        assert found is not None
        state[name] = (described(found), rows_of(pair.target, ref))
    return state


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("worded")
    return Undisturbed.record(folder, a_worded_pair, collections=WORDS, more=KEEP, state_of=what_is_left)


def test_every_word_is_kept(tmp_path: Path) -> None:
    world = World.make(tmp_path, a_worded_pair(), collections=WORDS, more=KEEP)
    before = what_is_left(world.pair)
    world.require_done(Fate())
    pair = world.pair
    books, films, old = map(pair.target.find_collection, (NEW, FILMS_BAK, OLD))
    assert books is not None
    assert films is not None
    assert old is not None
    assert {partition.name for partition in books.partitions} == {"_default", "old", "empty"}
    wanted = [row for row in rows_of(pair.source, BOOKS) if "'$partition': 'old'" in row]
    assert rows_of(pair.target, NEW) == wanted
    assert len(wanted) == 3
    assert [str(index) for index in books.indexes] == ["AUTOINDEX COSINE on vec"]
    assert (books.aliases, old.aliases, films.aliases) == (("library",), (), ("cinema",))
    assert [(index.name, str(index)) for index in films.indexes] == [("v", "IVF_FLAT L2 on vec")]
    assert rows_of(pair.target, FILMS_BAK) == rows_of(pair.source, FILMS)
    assert what_is_left(pair)["objects"] == before["objects"] == []


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_a_run_killed_at_any_point_ends_as_if_it_had_not_been(kind: str, worded: Undisturbed, tmp_path: Path) -> None:
    for number in strikes(worded, kind):
        point = worded.points[number]
        world = worded.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None, f"point {number} was not reached: {point}"
        world.require_done(Fate())
        assert what_is_left(world.pair) == worded.state, point


@pytest.mark.parametrize("kind", KINDS)
def test_lost_replies_are_made_good(kind: str, worded: Undisturbed, tmp_path: Path) -> None:
    assert strikes(worded, kind)
    for number in strikes(worded, kind):
        if worded.points[number].is_request:
            world = worded.world(tmp_path / str(number))
            world.require_done(Fate(strike_at=number, lost_reply=True))
            assert what_is_left(world.pair) == worded.state, worded.points[number]


def test_whose_an_alias_was_is_noted_before_it_moves(worded: Undisturbed, tmp_path: Path) -> None:
    """Whatever happens then, a rollback can give it back."""
    old = a_worded_pair().target.find_collection(OLD)
    assert old is not None
    for number in strikes(worded, "switch_alias"):
        world = worded.world(tmp_path / str(number))
        world.attempt(Fate(strike_at=number))
        if world.pair.target.find_alias(CollectionRef("default", "library")) == NEW.name:
            journal = Journal(world.folder / "journal.db", world.pair.clock)
            owners = former_owners(journal, NEW)
            journal.close()
            assert {alias: owner.ref for alias, owner in owners.items()} == {"library": OLD}


def test_a_dump_that_is_half_deleted_is_no_backup(worded: Undisturbed, tmp_path: Path) -> None:
    """No binlog goes before the last meta file is gone."""
    copies = sum(point.what == "copy_inside" and point.moment == "after" for point in worded.points)
    kept = []
    for number in strikes(worded, "clean_staging"):
        world = worded.world(tmp_path / str(number))
        world.attempt(Fate(strike_at=number))
        if world.pair.keys("backup/a_to_b/meta"):
            kept.append(len(world.pair.keys("backup/a_to_b/binlogs")))
    assert set(kept) == {copies}
