"""What a reviewer is told of an edited plan: what it does otherwise than the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.model.collection import DataType, FieldSchema, Partition
from migrator.planning.changes import changes
from migrator.planning.planner import make_plan, of_only
from migrator.reports.beside import Against, heading, told_changes
from tests.support.builders import a_collection, a_loaded_plan, a_schema, an_observed_state
from tests.support.sample_plans import backup, many, nothing, replacing, simple

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import Collection
    from migrator.planning.plan import Plan

BOOKS = a_collection(aliases=("library",))


def planned(folder: Path, words: str = "[books]", *found: Collection, more: str = "", **state: Any) -> Plan:  # noqa: ANN401
    return make_plan(
        a_loaded_plan(folder, collections=words, more=more), an_observed_state(*(found or (BOOKS,)), **state)
    )


def told(before: Plan, now: Plan, *, most: int | None = 12) -> list[str]:
    against = Against(origin="run 1", changes=changes(before, now))
    return [f"{each.sign} {each.text}" for each in told_changes(against, most=most)]


def test_the_same_plan_does_the_same_however_many_rows_there_are(tmp_path: Path) -> None:
    before, now = planned(tmp_path, rows=100), planned(tmp_path, rows=120)
    against = Against(origin="run 1", changes=changes(before, now))
    assert heading(against) == "This plan does the same as run 1"
    assert told(before, now)[0] == "= books: 100 → 120 rows (+20)"
    assert told(before, before) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("[{source: books, create: {shards_num: 2}}]", "~ books: shards 1 → 2"),
        ("[{source: books, create: {properties: {mmap.enabled: true}}}]", "~ books: now property mmap.enabled=true"),
        (
            "[{source: books, indexes: auto}]",
            "~ books: index HNSW COSINE on vec (M=16, efConstruction=200) → AUTOINDEX COSINE on vec",
        ),
        ("[{source: books, load: never}]", "~ books: load all of it → no"),
        ("[{source: books, aliases: none}]", "~ books: no longer alias library"),
        ("[{source: books, aliases: none}]", "~ new risk (books): not carried: alias library: aliases: none"),
        ("[{source: books, target: books_2}]", "~ books → books_2, and was books → books"),
    ],
)
def test_what_is_asked_of_the_target_is_told_by_its_word(tmp_path: Path, words: str, line: str) -> None:
    before, now = planned(tmp_path), planned(tmp_path, words)
    assert line in told(before, now)
    assert not changes(before, now).does_the_same


def test_what_no_longer_holds_is_a_risk_gone(tmp_path: Path) -> None:
    before, now = planned(tmp_path, "[{source: books, aliases: none}]"), planned(tmp_path)
    assert told(before, now) == [
        "~ books: now alias library",
        "= risk gone (books): not carried: alias library: aliases: none",
    ]


def test_settings_of_the_run_are_told_too(tmp_path: Path) -> None:
    more = "options: {verify: counts, transfer: {concurrency: 3}}\nstaging: {keep: false}\n"
    found = told(planned(tmp_path), planned(tmp_path, more=more))
    assert "~ books: concurrency of copy segments 64 → 3" in found
    assert "~ books: depth of verify collection all keys, and up to 10,000 rows → numbers of rows" in found
    assert "~ the plan: now a step clean staging" in found


def test_what_came_and_went_is_told_with_its_target(tmp_path: Path) -> None:
    films = a_collection("films")
    one, both = planned(tmp_path), planned(tmp_path, "[books, films]", BOOKS, films)
    assert told(one, both)[0] == "+ films → films"
    assert told(both, one)[0] == "- films → films"
    assert told(one, both)[-1].startswith("= in all 2 collections, 6 rows")
    assert told(one, of_only(both, "books")) == []


def test_the_source_is_told_where_it_moved(tmp_path: Path) -> None:
    lang = FieldSchema(field_id=103, name="lang", data_type=DataType.VARCHAR, type_params=(("max_length", "9"),))
    gained = replace(BOOKS, schema=a_schema(fields=(*a_schema().fields, lang)))
    assert "~ books: the source gained field 'lang'" in told(planned(tmp_path), planned(tmp_path, "[books]", gained))
    parts = replace(BOOKS, partitions=(Partition(7, "_default"), Partition(8, "p_2023")))
    assert "~ books: now partition p_2023" in told(planned(tmp_path), planned(tmp_path, "[books]", parts))


def test_a_replacement_is_a_new_risk(tmp_path: Path) -> None:
    found = told(simple(tmp_path), replacing(tmp_path))
    assert "~ books: replaces no → collection 4711" in found
    assert any(line.startswith("~ new risk (books): replaces collection 4711") for line in found)


def test_other_places_come_first_and_are_not_told_again_for_each_collection(tmp_path: Path) -> None:
    found = told(simple(tmp_path), backup(tmp_path))
    assert found[0] == "~ the plan has no target any more"
    assert not [line for line in found if "shards" in line or "index" in line]


def test_what_is_done_by_now_is_told_once(tmp_path: Path) -> None:
    found = told(nothing(tmp_path), simple(tmp_path))
    assert "~ books_bak: is to be migrated now, and was at the target, and is left alone then" in found


def test_hundreds_of_new_collections_are_a_dozen_lines(tmp_path: Path) -> None:
    ten, thousand = many(tmp_path, 10), many(tmp_path, 1000)
    found = told(ten, thousand)
    assert len([line for line in found if line.startswith("+")]) == 12
    assert "+ … and 979 more" in found
    assert len(found) < 30
    assert len(told(ten, thousand, most=None)) > 990
