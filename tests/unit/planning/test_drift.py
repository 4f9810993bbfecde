"""What has moved between two plans, in words; and a saved plan, which holds the first of them to its word."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from migrator.errors import RunError, StalePlan
from migrator.model.collection import CollectionRef, DataType, FieldSchema
from migrator.planning.drift import drift, movement
from migrator.planning.planner import make_plan
from migrator.planning.saved_plan import SavedPlan, is_saved_plan, read_saved_plan
from migrator.running.refresh import refresh
from migrator.running.runs import StateDirectory
from migrator.schemas import saved_plan_schema
from migrator.steps.dump_meta import DumpMeta
from migrator.workflow import find_resumable
from tests.support.builders import FakeClock, Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from migrator.model.collection import Collection
    from migrator.planning.plan import Plan


def a_plan(folder: Path, *, collections: str = "[books]") -> Plan:
    pair = Pair()
    fill(pair)
    loaded = a_loaded_plan(folder, collections=collections)
    return make_plan(loaded, refresh(loaded, pair.readers(), ()))


def with_source(plan: Plan, change: Callable[[Collection], Collection]) -> Plan:
    """The same plan, had the source's collection been another."""
    steps = tuple(
        replace(step, planned=change(step.planned)) if isinstance(step, DumpMeta) else step for step in plan.steps
    )
    return replace(plan, steps=steps)


def test_equal_plans_have_not_drifted(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    assert drift(plan, plan) == ()


def test_more_rows_are_movement_and_no_drift(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    books = plan.collections[0]
    more = replace(books.estimate, rows=books.estimate.rows + 5, counted_rows=None)
    now = replace(plan, collections=(replace(books, estimate=more),))
    assert drift(plan, now) == ()
    assert len(movement(plan, now)) == 1
    assert movement(plan, now)[0].startswith("books has ")


def test_a_field_that_came_is_named(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)

    def gained(collection: Collection) -> Collection:
        lang = FieldSchema(field_id=120, name="lang", data_type=DataType.VARCHAR)
        fields = (*collection.schema.fields, lang)
        return replace(collection, schema=replace(collection.schema, fields=fields))

    assert drift(plan, with_source(plan, gained)) == ("books gained field 'lang'",)
    assert drift(with_source(plan, gained), plan) == ("books lost field 'lang'",)


def test_a_collection_made_anew_is_not_the_one_that_was_reviewed(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    now = with_source(plan, lambda collection: replace(collection, collection_id=collection.collection_id + 1))
    assert drift(plan, now) == ("books was dropped at the source, and created again",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "2.3.6"}, "the target runs Milvus 2.3.6 now, and ran 2.3.5"),
        ({"root_path": "files_C"}, "the target uses root path files_C now, and used files_B"),
    ],
)
def test_another_target_is_named(tmp_path: Path, change: dict[str, str], words: str) -> None:
    plan = a_plan(tmp_path)
    assert plan.target is not None
    assert drift(plan, replace(plan, target=replace(plan.target, **change))) == (words,)


def test_an_edited_mapping_is_told_as_a_reviewer_would_ask(tmp_path: Path) -> None:
    before = a_plan(tmp_path)
    now = a_plan(tmp_path, collections="[{source: books, create: {shards_num: 2}}]")
    told = drift(before, now)
    assert any("shards_num of create_collection is 2 now, and was 1" in text for text in told)
    moved = drift(before, a_plan(tmp_path, collections="[{source: books, target: other}]"))
    assert moved[:2] == ("books → other is new", "books → books is not in it any more")


def saved(plan: Plan) -> SavedPlan:
    return SavedPlan(
        plan=plan, plan_file=("plan.yaml", "0" * 64), clusters_file=None, variables={"suffix": "_x"}, only=None
    )


def test_a_saved_plan_is_read_back_as_it_was(tmp_path: Path) -> None:
    text = saved(a_plan(tmp_path)).to_text()
    assert text == saved(a_plan(tmp_path)).to_text()
    assert is_saved_plan(text.encode())
    assert read_saved_plan(StringIO(text), name="p").to_text() == text
    laid_out_anew = json.dumps(json.loads(text), indent=4)
    assert read_saved_plan(StringIO(laid_out_anew), name="p").to_text() == text
    Draft202012Validator(saved_plan_schema()).validate(json.loads(text))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda plain: plain["plan"].update(dump="elsewhere"), "was edited after it was written"),
        (lambda plain: plain.pop("plan_file"), r"cannot be read: .*plan_file"),
        (lambda plain: plain["plan"].update(format_version=99), "has format 99"),
        (lambda plain: plain["plan"]["steps"][0].update(kind="drop_everything"), "drop_everything"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_edited_one_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], words: str, indent: int | None
) -> None:
    plain = json.loads(saved(a_plan(tmp_path)).to_text())
    edit(plain)
    with pytest.raises(StalePlan, match=words) as caught:
        read_saved_plan(StringIO(json.dumps(plain, indent=indent)), name="p")
    assert caught.value.exit_code == 12


def test_half_a_file_is_refused_and_a_plan_file_is_none(tmp_path: Path) -> None:
    text = saved(a_plan(tmp_path)).to_text()
    for length in range(1, len(text) - 1, 97):
        with pytest.raises(StalePlan, match="not whole"):
            read_saved_plan(StringIO(text[:length]), name="p")
    assert not is_saved_plan(b"version: 1\nname: a-to-b\n")


def test_a_source_that_went_and_came_under_another_name_is_two_changes(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    renamed = replace(plan.collections[0], source=CollectionRef("default", "novels"))
    told = drift(plan, replace(plan, collections=(renamed,)))
    assert "novels → books is new" in told
    assert "books → books is not in it any more" in told


def test_a_saved_plan_goes_on_with_its_own_run_alone(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair)
    loaded = a_loaded_plan(tmp_path, collections="[books]")
    plan = make_plan(loaded, refresh(loaded, pair.readers(), ()))
    mine, other = saved(plan), replace(saved(plan), only="films")
    state = StateDirectory(tmp_path / "state", FakeClock())
    run = state.begin(loaded, plan, saved_plan=mine.digest)
    assert find_resumable(state, loaded, mine) == run
    with pytest.raises(RunError, match="was not begun from this saved plan"):
        find_resumable(state, loaded, other)
