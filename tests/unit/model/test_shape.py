"""A target held against what it was asked to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrator.model.collection import Collection, ConsistencyLevel, Partition
from migrator.model.shape import Shape
from tests.support.builders import a_collection, a_key_schema, a_schema, an_index

BOOKS = a_collection()


def said(found: Collection, wanted: Collection = BOOKS) -> list[str]:
    return [str(each) for each in Shape.of(wanted).differences(found)]


@pytest.mark.parametrize("nested", ['{"M":16,"fast":true}', '{"M":"16","fast":"true"}'])
def test_parameters_are_told_as_text_wherever_they_stand(nested: str) -> None:
    flat = an_index(params=(("M", "16"), ("fast", "true")))
    assert an_index(params=(("params", nested),)).flat_params == flat.flat_params


@pytest.mark.parametrize("nested", ["no JSON", "[1]", "5", "null"])
def test_parameters_of_nobodys_form_are_a_difference_and_no_more(nested: str) -> None:
    odd = an_index(params=(*an_index().params[:2], ("params", nested)))
    assert not an_index().is_like(odd)
    assert f"index on 'vec', params: none at the source, {nested} at the target" in said(replace(BOOKS, indexes=(odd,)))


def test_its_like_has_no_difference() -> None:
    assert said(a_collection("papers", aliases=("p",), load_state=BOOKS.load_state)) == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            replace(BOOKS, schema=a_schema(fields=a_schema().fields[:2])),
            "schema field 'vec': there at the source, none at the target",
        ),
        (
            replace(
                BOOKS, schema=a_schema(fields=(*a_schema().fields[:2], replace(a_schema().fields[2], type_params=())))
            ),
            "schema field 'vec', type_params: dim=2 at the source, none at the target",
        ),
        (
            replace(BOOKS, schema=a_schema(enable_dynamic_field=True)),
            "schema dynamic field: off at the source, on at the target",
        ),
        (replace(BOOKS, shards_num=2), "setting shards_num: 1 at the source, 2 at the target"),
        (
            replace(BOOKS, consistency_level=ConsistencyLevel.STRONG),
            "setting consistency_level: BOUNDED at the source, STRONG at the target",
        ),
        (
            replace(BOOKS, properties=(("ttl", "5"),)),
            "setting property ttl: none at the source, 5 at the target",
        ),
        (
            replace(BOOKS, partitions=(*BOOKS.partitions, Partition(8, "new"))),
            "partition 'new' is missing at the source, there at the target",
        ),
        (replace(BOOKS, indexes=()), "index on 'vec': HNSW COSINE on vec at the source, none at the target"),
        (
            replace(BOOKS, indexes=(an_index(params=(*an_index().params[:2], ("params", '{"M":8}'))),)),
            "index on 'vec', M: 16 at the source, 8 at the target",
        ),
        (
            replace(BOOKS, indexes=(an_index(name="other"),)),
            f"index on 'vec', name: {an_index().name} at the source, other at the target",
        ),
        (
            replace(BOOKS, indexes=(an_index(), an_index("title", name="t", params=(("index_type", "Trie"),)))),
            "index on 'title': none at the source, Trie on title at the target",
        ),
        (
            replace(BOOKS, schema=a_schema(description="others'")),
            "schema description: 'demo' at the source, \"others'\" at the target",
        ),
    ],
)
def test_each_departure_is_named(found: Collection, message: str) -> None:
    assert message in said(found)


def test_partitions_of_a_partition_key_are_counted() -> None:
    by_key = replace(BOOKS, schema=a_key_schema())
    more = replace(by_key, partitions=(*BOOKS.partitions, Partition(8, "_default_1")))
    assert said(more, by_key) == ["setting number of partitions: 1 at the source, 2 at the target"]
    assert Shape.of(by_key).partitions == ()


def test_an_index_under_another_of_the_names_a_server_knows_it_by_is_none() -> None:
    by_title = replace(BOOKS, indexes=(an_index("title", params=(("index_type", "marisa-trie"),)),))
    told = replace(BOOKS, indexes=(an_index("title", params=(("index_type", "Trie"),)),))
    assert said(told, by_title) == []


def test_an_index_of_another_type_is_not_what_autoindex_stands_for() -> None:
    auto = replace(BOOKS, indexes=(an_index(params=(("index_type", "AUTOINDEX"), ("metric_type", "L2"))),))
    resolved = (("index_type", "AUTOINDEX"), ("metric_type", "L2"), ("level", "1"))
    flat = (("index_type", "FLAT"), ("metric_type", "L2"))
    assert said(replace(BOOKS, indexes=(an_index(params=resolved),)), auto) == []
    assert said(replace(BOOKS, indexes=(an_index(params=flat),)), auto) == [
        "index on 'vec', index_type: AUTOINDEX at the source, FLAT at the target"
    ]
