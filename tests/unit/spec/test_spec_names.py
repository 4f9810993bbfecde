"""Names and patterns of collections."""

from __future__ import annotations

import pytest

from migrator.model.collection import CollectionRef
from migrator.spec.fault import Fault
from migrator.spec.names import parse_alias, parse_name, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("coll", "default.coll", "db1.coll"),
        ("default.coll", "default.coll", "default.Coll"),
        ("*", "default.coll", "db1.coll"),
        ("*.*", "db1.coll", None),
        ("db1.*", "db1.coll", "db2.coll"),
        ("db?.b[a-c]d", "db1.bbd", "db1.bdd"),
        ("[!a]b", "default.bb", "default.ab"),
    ],
)
def test_a_pattern_matches(pattern: str, matching: str, other: str | None) -> None:
    parsed = parse_pattern(pattern)
    assert parsed.matches(CollectionRef.parse(matching))
    assert other is None or not parsed.matches(CollectionRef.parse(other))


def test_only_an_exact_pattern_has_a_name() -> None:
    assert parse_pattern("db1.coll").exact == CollectionRef("db1", "coll")
    assert parse_pattern("coll").exact == CollectionRef("default", "coll")
    assert parse_pattern("c?ll").exact is None
    assert parse_pattern("c?ll").is_glob


@pytest.mark.parametrize("text", ["", ".a", "a.", "a.b.c", "a/b", "a b", "1a", "a-b", "a[", "a[]", "é", "a\n"])
def test_what_no_collection_is_called_is_no_pattern(text: str) -> None:
    with pytest.raises(Fault):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["", "a*", "a.b.c", "1a", "a" * 256, "db.", "a?"])
def test_a_target_is_one_name(text: str) -> None:
    with pytest.raises(Fault, match="Milvus allows"):
        parse_name(text)


def test_an_alias_has_no_database() -> None:
    assert parse_alias("books") == "books"
    with pytest.raises(Fault, match="not an alias"):
        parse_alias("db.books")
