"""Whole migrations from a double of one version into one of another, deletes included, as a user runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType, Function, FunctionType
from pymilvus.grpc_gen import milvus_pb2

from tests.contract.test_double_sources import _EXPECTED, _KEYS, _fill, _make, _row, _told
from tests.support.cli import Shell
from tests.support.double_cases import bed, double_of
from tests.support.double_cases import flushed as flush

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]

KEYS = "{type: static, access_key_id: {env: KEY}, secret_access_key: {env: SECRET}}"
CLUSTER = """\
{{milvus: {{uri: "http://127.0.0.1:{port}"}}, storage: {{provider: minio, endpoint: "{endpoint}", bucket: {bucket},
  root_path: "{root_path}", credentials: {keys}}}}}"""
PLAN = """\
version: 1
name: {name}
source: {source}
target: {target}
staging: {{root_path: staged}}
collections: [{{source: {collection}, target: {collection}_moved}}]
options: {{verify: full}}
"""


def a_cluster(double: Double, bed: Bed) -> str:
    return CLUSTER.format(
        port=double.port, endpoint=bed.endpoint, bucket=bed.bucket, root_path=double.root_path, keys=KEYS
    )


def a_plan(shell: Shell, bed: Bed, source: Double, target: Double, collection: str) -> str:
    """A plan file that moves one collection."""
    text = PLAN.format(
        name=collection.replace("_", "-").replace(".", "-"),
        source=a_cluster(source, bed),
        target=a_cluster(target, bed),
        collection=collection,
    )
    return str(shell.write(f"{collection}.yaml", text))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"KEY": "key", "SECRET": "secret"})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.4.5", "2.5.5"),
        ("2.5.20", "2.6.12"),
        ("2.6.12", "3.0.0"),
        *(
            pytest.param(old, new, marks=pytest.mark.exhaustive)
            for old, new in [
                ("2.4.24", "2.6.12"),
                ("2.4.24", "3.0.0"),
                ("2.5.20", "3.0.0"),
                ("3.0.0", "3.0.0"),
                ("2.4.5", "2.4.24"),
                ("2.4.24", "2.5.5"),
                ("2.5.5", "2.5.20"),
                ("2.6.12", "2.6.12"),
            ]
        ),
    ],
)
def test_rows_and_deletes_arrive(bed: Bed, double_of: DoubleOf, shell: Shell, old: str, new: str) -> None:
    source, target = double_of(old), double_of(new)
    name = f"whole_{old}_{new}".replace(".", "_")
    _make(source, name)
    _fill(source, name)
    answer = shell.run("apply", a_plan(shell, bed, source, target, name), "--yes", "--format", "json")
    assert _told(target, f"{name}_moved") == _EXPECTED
    imported = any(event.get("step", "").startswith("import_deletes:") for event in answer.events)
    assert imported == (new != "3.0.0")  # which would get them wrong


def test_orphans_stay_out(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target, name = double_of("2.5.20"), double_of("2.6.12"), "with_orphans"
    _make(source, name)
    _fill(source, name)
    segment = next(each for each in source.ask("segments", collection=name) if each["level"] == 2)
    orphan = source.ask("orphan", collection=name, segment_id=segment["id"], field_id=101)
    plan = a_plan(shell, bed, source, target, name)
    assert "1 files that belong to no segment stay out" in shell.run("plan", plan).text
    answer = shell.run("apply", plan, "--yes")
    assert _told(target, f"{name}_moved") == _EXPECTED
    shell.run("verify", plan)
    assert "nothing to do" in shell.run("plan", plan).text
    assert "files that belong to no segment stay out" in answer.text
    staged: list[Any] = [key for key in bed.keys("staged/with_orphans/") if key.endswith(orphan.rpartition("/")[2])]
    assert staged == []


def test_a_source_that_does_not_tell_which_files_count_is_told_of(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target, name = double_of("2.5.20"), double_of("2.6.12"), "untold"
    _make(source, name)
    _fill(source, name)
    plan = a_plan(shell, bed, source, target, name)
    source.misbehave("segments/describe", "unimplemented", times=99)
    try:
        assert "does not tell over REST which files of its segments count" in shell.run("plan", plan).text
        answer = shell.run("apply", plan, "--yes")
    finally:
        source.ask("behave")
    assert "the source did not tell which files count" in answer.text
    assert _told(target, f"{name}_moved") == _EXPECTED


def test_an_encrypted_database_is_refused_in_the_plan(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target = double_of("2.6.12"), double_of("3.0.0")
    with source.client() as client:
        client.create_database("secret")
        client.alter_database_properties("secret", {"cipher.enabled": "true"})
        client.use_database("secret")
        client.create_collection("hidden", dimension=4)
        text = a_plan(shell, bed, source, target, "secret.hidden")
    answer = shell.run("plan", text, code=11)
    assert "the database secret of the source is encrypted" in answer.text


def test_indexes_on_paths_of_a_json_come_along(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target, name = double_of("2.6.12"), double_of("3.0.0"), "by_paths"
    with source.client() as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("meta", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection(name, schema=schema)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="HNSW_SQ", metric_type="L2", params={"sq_type": "SQ8"})
        for key in ("size", "kind"):
            params = {"json_path": f'meta["{key}"]', "json_cast_type": "VARCHAR"}
            index.add_index("meta", index_type="INVERTED", index_name="", params=params)
        client.create_index(name, index)
        client.insert(name, [{"id": n, "meta": {"size": n, "kind": "x"}, "vector": [n, 0, 0, 1]} for n in range(9)])
    flush(source, name)
    shell.run("apply", a_plan(shell, bed, source, target, name), "--yes")
    looks = []
    for double, each in ((source, name), (target, f"{name}_moved")):
        with double.client() as client:
            looks.append({one: client.describe_index(each, one) for one in client.list_indexes(each)})
    assert looks[0].keys() == looks[1].keys() == {"vector", "meta/size", "meta/kind"}
    assert {one["json_path"] for one in looks[1].values() if "json_path" in one} == {'meta["size"]', 'meta["kind"]'}


def test_files_of_both_storage_versions_go_in_jobs_of_their_own(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    """A cluster that was upgraded from 2.5 has both in one collection (D.2)."""
    source, target, name = double_of("2.6.12"), double_of("3.0.0"), "of_both"
    _make(source, name)
    with source.client() as client:
        index = client.prepare_index_params()
        index.add_index("text", index_type="Trie")  # which is told as marisa-trie, and not taken as that
        client.create_index(name, index)
    source.ask("settings", uses_v1=True)
    with source.client() as client:
        client.insert(name, [_row(key) for key in _KEYS[:15]])
        client.delete(name, filter="id in [1]")
    flush(source, name)
    source.ask("settings", uses_v1=False)
    with source.client() as client:
        client.insert(name, [_row(key) for key in _KEYS[15:]])
        client.delete(name, filter="id in [2]")
        client.upsert(name, [_row(3) | {"text": "again"}])
    flush(source, name)
    versions = {s["storage_version"] for s in source.ask("segments", collection=name) if s["level"] != 1}
    assert versions == {0, 2}
    before = len(target.calls("jobs/import/create"))
    shell.run("apply", a_plan(shell, bed, source, target, name), "--yes")
    sent = [json.loads(request) for request in target.calls("jobs/import/create")[before:]]
    jobs = [each for each in sent if each["collectionName"] == f"{name}_moved"]
    assert sorted(each["options"].get("storage_version", "") for each in jobs) == ["", "2"]
    assert _told(target, f"{name}_moved") == _EXPECTED


def test_a_backup_of_a_new_version_is_restored(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target, name = double_of("2.6.12"), double_of("2.6.12"), "by_backup"
    _make(source, name)
    _fill(source, name)
    cluster = a_cluster(source, bed)
    storage = f"{{provider: minio, endpoint: '{bed.endpoint}', bucket: {bed.bucket}, credentials: {KEYS}}}"
    make = f"version: 1\nname: nightly\nsource: {cluster}\nstaging: {{storage: {storage}, root_path: backups}}\n"
    shell.run("apply", str(shell.write("make.yaml", f"{make}collections: [{name}]\n")), "--yes")
    meta = json.loads(bed.read("backups/nightly/meta/full_meta.json"))
    (entry,) = meta["collection_backups"]
    assert {s["storage_version"] for p in entry["partition_backups"] for s in p["segment_backups"]} == {2}
    assert len(entry["l0_segments"]) > 0
    restore = (
        "version: 1\nname: restore\n"
        f"source: {{backup: {{storage: {storage[:-1]}, root_path: backups}}, name: nightly}}}}\n"
        f"target: {a_cluster(target, bed)}\nstaging: {{root_path: restored}}\n"
        f"collections: [{{source: {name}, target: {name}_back}}]\n"
    )
    shell.run("apply", str(shell.write("restore.yaml", restore)), "--yes")
    assert _told(target, f"{name}_back") == _EXPECTED


def _make_rich(double: Double, name: str) -> None:
    """What came with 2.5 and 2.6: defaults and NULLs, BM25, new vectors, structs."""
    with double.client() as client:
        schema = client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
        schema.add_field("text", DataType.VARCHAR, max_length=100, enable_analyzer=True)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_field("small", DataType.INT8_VECTOR, dim=4)
        schema.add_field("year", DataType.INT32, nullable=True, default_value=1984)
        schema.add_field("note", DataType.VARCHAR, max_length=9, nullable=True)
        inner = client.create_struct_field_schema()
        inner.add_field("title", DataType.VARCHAR, max_length=9)
        schema.add_field("chapters", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=inner, max_capacity=5)
        schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
        client.create_collection(name, schema=schema, num_shards=1, properties={"collection.ttl.seconds": "0"})
        index = client.prepare_index_params()
        index.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        index.add_index("small", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
        client.create_index(name, index)
        client.load_collection(name)


def _rich_row(number: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": f"k{number}",
        "text": f"the text {number}",
        "small": bytes([number] * 4),
        "extra": number,
    }
    row["chapters"] = [{"title": f"c{each}"} for each in range(number % 3)]
    return row if number % 2 else row | {"year": number, "note": "x"}


def test_what_came_with_newer_schemas_arrives(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target, name = double_of("2.6.12"), double_of("2.6.12"), "rich"
    _make_rich(source, name)
    with source.client() as client:
        client.insert(name, [_rich_row(number) for number in range(9)])
    flush(source, name)
    with source.client() as client:
        client.add_collection_field(name, "added", DataType.INT64, nullable=True)
        client.insert(name, [_rich_row(number) | {"added": number} for number in range(9, 12)])
    flush(source, name)
    shell.run("apply", a_plan(shell, bed, source, target, name), "--yes")
    told = []
    for double, each in ((source, name), (target, f"{name}_moved")):
        with double.client() as client:
            described = client._get_connection()._stub.DescribeCollection(
                milvus_pb2.DescribeCollectionRequest(collection_name=each)
            )
            described.schema.name = ""
            rows = client.query(each, 'id != ""', output_fields=["text", "small", "year", "note", "extra", "added"])
        told.append((described.schema, list(described.properties), sorted(map(str, rows))))
    assert told[0] == told[1]
    assert len(told[0][2]) == 12
