"""Clusters by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.spec_cases import SOURCE, TARGET, complaints_of, load_text, place, plan_text

BARE = f"a: {SOURCE}\nb: {TARGET}\n"
WRAPPED = f"version: 1\nclusters:\n  a: {SOURCE}\n  b: {TARGET}\n"


def by_name(*, source: str = "a", clusters: str | None = "clusters.yaml") -> str:
    more = f"clusters: {clusters}\n" if clusters else ""
    return plan_text(source=source, target="b", more=more)


def write(folder: Path, text: str, name: str = "clusters.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [BARE, WRAPPED, f"version: 1\n{BARE}", f"clusters: {{a: {SOURCE}, b: {TARGET}}}\n"])
def test_a_clusters_file_may_be_bare_or_wrapped(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    plan = load_text(tmp_path, by_name())
    assert plan == load_text(tmp_path, by_name())
    assert plan.source is not None
    assert plan.source.milvus.uri == "http://milvus_A:19530"
    assert plan.clusters_path == path
    assert [name for name, _ in plan.file_digests] == [str(tmp_path / "plan.yaml"), str(path)]


if TYPE_CHECKING:
    from pathlib import Path


def test_a_place_in_a_named_cluster_is_found_in_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, WRAPPED)
    position = load_text(tmp_path, by_name()).locate("source.milvus.uri")
    assert str(position) == f"{path}:3:21"


def test_clusters_may_stand_in_the_plan_file(tmp_path: Path) -> None:
    plan = load_text(tmp_path, by_name(clusters=f"{{a: {SOURCE}, b: {TARGET}}}"))
    assert plan.source_storage.root_path == "files_A"


def test_a_file_on_the_command_line_comes_first(tmp_path: Path) -> None:
    write(tmp_path, BARE)
    other = write(tmp_path, BARE.replace("files_A", "files_C"), "other.yaml")
    plan = load_text(tmp_path, by_name(), clusters=other)
    assert plan.source_storage.root_path == "files_C"
    assert plan.clusters_path == other


def test_an_unknown_cluster_gets_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, BARE)
    found = complaints_of(tmp_path, by_name(source="production"))
    assert found.keys() == {"source"}
    assert found["source"].hint == "known clusters: a, b"
    assert found["source"].value == "production"
    assert place(found["source"]) == (3, 9)


def test_a_name_without_any_clusters_is_told_what_to_write(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, by_name(clusters=None))
    assert "clusters: clusters.yaml" in found["source"].hint


def test_a_clusters_file_that_is_gone_is_one_complaint(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, by_name())
    assert found.keys() == {"clusters"}
    assert "cannot be read: No such file" in found["clusters"].message
    assert place(found["clusters"]) == (6, 11)


def test_a_mistake_in_a_clusters_file_is_told_there(tmp_path: Path) -> None:
    path = write(tmp_path, "a:\n  milvus: {uri: 5}\n  storge: {}\nb: " + TARGET + "\n")
    found = complaints_of(tmp_path, by_name())
    assert found.keys() == {"source.milvus.uri", "source.storage", "source.storge"}
    assert found["source.storge"].hint == "did you mean storage?"
    for field, spot in {
        "source.milvus.uri": (2, 17),
        "source.storge": (3, 3),
        "source.storage": (1, 1),
    }.items():
        assert place(found[field]) == spot
        assert str(found[field].position).startswith(str(path))


def test_clusters_that_the_plan_leaves_alone_may_be_wrong(tmp_path: Path) -> None:
    write(tmp_path, f"{BARE}c: {{milvus: 5}}\n")
    load_text(tmp_path, by_name())


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (f"{BARE}c: 5\n", "c", "must be a cluster"),
        (f"{BARE}a: 5\n", "a", "the key appears twice"),
        (f"{WRAPPED}c: {SOURCE}\n", "c", "unknown key c"),
        (WRAPPED.replace("version: 1", "version: 2"), "version", "must be 1"),
        ("clusters: 5\n", "clusters", "must be a map of clusters"),
    ],
)
def test_the_frame_of_a_clusters_file_is_checked(tmp_path: Path, text: str, field: str, message: str) -> None:
    write(tmp_path, text)
    found = complaints_of(tmp_path, by_name())
    assert message in found[field].message
    assert "clusters.yaml" in str(found[field].position)


def test_a_syntax_error_in_a_clusters_file_hides_nothing_in_the_plan(tmp_path: Path) -> None:
    write(tmp_path, "a: [\n")
    found = complaints_of(tmp_path, by_name() + "options: {flush: x}\n")
    assert found.keys() == {"clusters", "options.flush"}
    assert str(found["clusters"].position).endswith("clusters.yaml:2:1")


def test_one_mistake_in_a_cluster_used_twice_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, BARE.replace("19530}", "19530, username: u}"))
    text = plan_text(source="a", target="a", collections="[{source: x, target: y}]", more="clusters: clusters.yaml\n")
    assert complaints_of(tmp_path, text).keys() == {"source.milvus.username"}


def test_two_clusters_with_one_address_are_one_milvus(tmp_path: Path) -> None:
    write(tmp_path, BARE.replace("milvus_B:19530", "milvus_A:19530"))
    load_text(tmp_path, by_name())  # one Milvus: whether anything is mapped onto itself is the planner's to prove
