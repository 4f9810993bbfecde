"""What comes with Milvus 2.4 and later, killed at every point: deletes in L0 segments, functions that ask a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.model.collection import DataType, FieldSchema, FunctionSchema
from migrator.model.segment import SegmentState
from migrator.steps.create_collection import UNCHECKED_FUNCTIONS, CreateCollection
from migrator.steps.import_deletes import ImportDeletes
from tests.contract.test_steps import Undisturbed, World, described, rows_of, strikes
from tests.contract.test_steps_of_hops import APART
from tests.support.builders import BOOKS, Pair, a_schema, an_index, create, flush, some_rows
from tests.support.mortality import Fate

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import Collection, CollectionRef
    from migrator.model.segment import Segment

PAIRS = {
    "2.4.3 to 2.4.4": ("2.4.3", "2.4.4"),
    "2.4.5 to 2.5.5": ("2.4.5", "2.5.5"),
    "2.5.20 to 2.6.12": ("2.5.20", "2.6.12"),
    "2.6.12 to 3.0.0": ("2.6.12", "3.0.0"),
}
"""Folded, as the target replaces row timestamps; one job for each segment; one job for all; folded."""


def a_pair(versions: tuple[str, str], apart: tuple[MemoryStore, MemoryStore] | None = None) -> Pair:
    """Books with a key in two partitions, deletes before and after a flush, and a key that is there anew."""
    pair = Pair(versions=versions, apart=apart)
    create(pair.source, BOOKS)
    pair.source.create_partition(BOOKS, "old")
    pair.source.insert(BOOKS, some_rows(4))
    pair.source.insert(BOOKS, some_rows(3, start=3), "old")
    flush(pair.source, BOOKS)
    pair.source.delete(BOOKS, [1, 3, 99])
    flush(pair.source, BOOKS)
    pair.source.insert(BOOKS, some_rows(1, start=3))
    pair.source.delete(BOOKS, [5])
    pair.source.create_index(BOOKS, an_index())
    return pair


def left_behind(pair: Pair) -> dict[str, object]:
    """What stands at the target, and the names of the dump's files but for ids of logs."""
    found = pair.target.find_collection(BOOKS)
    assert found is not None
    return {
        "collection": (described(found), rows_of(pair.target, BOOKS)),
        "folders": sorted(key.rpartition("/")[0] for key in pair.keys("backup")),
    }


def undisturbed(folder: Path, name: str) -> Undisturbed:
    return Undisturbed.record(folder, lambda: a_pair(PAIRS[name]), collections="[books]", more="", state_of=left_behind)


@pytest.mark.parametrize("name", PAIRS)
def test_a_target_holds_the_rows_that_the_source_shows(name: str, tmp_path: Path) -> None:
    world = World.make(tmp_path, a_pair(PAIRS[name]), collections="[books]")
    world.require_done(Fate())
    assert rows_of(world.pair.target, BOOKS) == rows_of(world.pair.source, BOOKS)
    imports = [step for step in world.plan.steps if isinstance(step, ImportDeletes)]
    assert bool(imports) == PAIRS[name][1].startswith(("2.5", "2.6"))


@pytest.mark.parametrize("name", PAIRS)
def test_deletes_go_by_way_of_another_store_too(name: str, tmp_path: Path) -> None:
    pair = a_pair(PAIRS[name], apart=(MemoryStore("dumps"), MemoryStore("bucket_B")))
    world = World.make(tmp_path, pair, collections="[books]", more=APART)
    world.require_done(Fate())
    assert rows_of(world.pair.target, BOOKS) == rows_of(world.pair.source, BOOKS)
    kept = [each.key for each in pair.imports.list_objects("") if not each.key.startswith("files_B/")]
    assert kept == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("2.4.5 to 2.5.5", "import_deletes"),
        ("2.5.20 to 2.6.12", "import_deletes"),
        ("2.4.5 to 2.5.5", "copy_segments"),
        ("2.6.12 to 3.0.0", "copy_segments"),
        ("2.6.12 to 3.0.0", "import_segments"),
        ("2.5.20 to 2.6.12", "dump_meta"),
    ],
)
def test_a_run_killed_at_any_point_ends_as_if_it_had_not_been(name: str, kind: str, tmp_path: Path) -> None:
    once = undisturbed(tmp_path / "once", name)
    assert strikes(once, kind)
    for number in strikes(once, kind):
        world = once.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert left_behind(world.pair) == once.state, once.points[number]


def test_deletes_after_the_cut_do_not_come_where_the_target_heeds_no_bound(tmp_path: Path) -> None:
    """They are folded then, and nothing is imported as a segment of deletes."""
    pair = a_pair(("2.4.5", "2.5.5"))
    world = World.make(tmp_path, pair, collections="[books]")
    before = rows_of(pair.source, BOOKS)
    listed = pair.source.list_segments

    def delete_late(ref: CollectionRef) -> tuple[Segment, ...]:
        """Between the flush and the listing, into a segment that was flushed."""
        held = pair.source._get(ref)
        for segment in held.segments:
            if segment.is_l0 and segment.state is SegmentState.FLUSHED and len(segment.deletes) == 3:
                segment.deletes.append((0, pair.source.allocate_timestamp() + (5 << 18)))
                pair.source._write_logs(held, segment)
        return listed(ref)

    pair.source.list_segments = delete_late  # type: ignore[method-assign] # a source that is written to
    world.require_done(Fate())
    assert rows_of(pair.target, BOOKS) == before
    assert {job.is_l0 for job in pair.target._jobs.values()} == {False}


def a_pair_with_a_model() -> Pair:
    """Books whose vectors a model makes of their titles."""
    pair = Pair(versions=("2.6.8", "2.6.12"))
    function = FunctionSchema(name="embed", kind=2, input_names=("title",), output_names=("vec",))
    create(pair.source, BOOKS, schema=a_schema(functions=(function,)))
    pair.source.insert(BOOKS, some_rows(2))
    return pair


def test_functions_that_ask_a_model_wait_for_the_import(tmp_path: Path) -> None:
    once = Undisturbed.record(
        tmp_path / "once", a_pair_with_a_model, collections="[books]", more="", state_of=left_behind
    )
    created = next(step for step in once.plan.steps if isinstance(step, CreateCollection))
    assert created.pauses_functions
    found = cast("tuple[Collection, object]", once.state["collection"])[0]
    assert (found.properties, found.schema.functions) == ((), created.schema.functions)
    assert strikes(once, "resume_functions")
    for number in strikes(once, "resume_functions"):
        world = once.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        during = world.pair.target.find_collection(BOOKS)
        assert during is not None
        assert UNCHECKED_FUNCTIONS in dict(during.properties) or not during.properties
        world.require_done(Fate())
        assert left_behind(world.pair) == once.state, once.points[number]


def a_pair_with_an_added_field() -> Pair:
    """Books with values beyond the schema, of which some were there before a field was added."""
    pair = Pair(versions=("2.6.8", "2.6.12"))
    create(pair.source, BOOKS, schema=a_schema(enable_dynamic_field=True))
    pair.source.insert(BOOKS, some_rows(2))
    flush(pair.source, BOOKS)
    pair.source.add_field(BOOKS, FieldSchema(field_id=0, name="added", data_type=DataType.INT64, nullable=True))
    pair.source.insert(BOOKS, [{**row, "added": 7} for row in some_rows(2, start=5)])
    return pair


def test_fields_that_were_added_get_their_ids_again(tmp_path: Path) -> None:
    once = Undisturbed.record(
        tmp_path / "once", a_pair_with_an_added_field, collections="[books]", more="", state_of=left_behind
    )
    found, rows = cast("tuple[Collection, list[str]]", once.state["collection"])
    assert [each.field_id for each in found.schema.fields] == [100, 101, 102, 104]
    assert rows == rows_of(once.make_pair().source, BOOKS)
    for number in strikes(once, "create_collection"):
        world = once.world(tmp_path / str(number))
        assert world.attempt(Fate(strike_at=number)) is None
        world.require_done(Fate())
        assert left_behind(world.pair) == once.state, once.points[number]
