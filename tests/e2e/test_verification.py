"""Differences planted by hand in the target are found and named; a source that moved is told from a difference."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from migrator.adapters.binlogs import read_keys
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.model.collection import CollectionRef, DataType
from migrator.model.import_job import ImportState, ImportTag
from migrator.model.segment import SegmentBatch
from tests.support import sources
from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import connected, wait_until_indexed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bench import Bench

NAMES = ("stirred", "kinds", "tenants", "tuned", "equal", "moved", "gone", "unloaded", "lost", "left")
LATEST_TS = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the commands said, and for each collection what `verify --level full` said after the planting."""

    answers: dict[str, Answer]
    found: dict[str, dict[str, Any]]
    misrouted: set[int]

    def messages(self, name: str) -> set[str]:
        """The differences of one collection, in words."""
        return {each["message"] for each in self.found[name]["differences"]}


def target(name: str) -> str:
    return f"ver_{name}_bak"


def source(name: str) -> str:
    return f"ver_{name}"


def fill(bench: Bench) -> None:
    """A collection for each name at the first server."""
    uri = bench.a.uri
    calls: list[Callable[[str, str], None]] = [
        sources.fill_stirred,
        sources.fill_kinds,
        sources.fill_by_tenant,
        sources.fill_tuned,
        partial(sources.fill_small, rows=500),
        partial(sources.fill_small, rows=200),
        partial(sources.fill_small, rows=100),
        partial(sources.fill_unloaded, indexed=True),
        partial(sources.fill_small, rows=40),
        partial(sources.fill_small, rows=40),
    ]
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(call, uri, source(name)) for name, call in zip(NAMES, calls, strict=True)]:
            job.result()
    with connected(uri) as client:
        for name in NAMES:
            client.flush(source(name))
            wait_until_indexed(client, source(name))
        client.create_alias(source("lost"), "ver_lost_live")


def read(client: Any, name: str, key: str) -> dict[str, Any]:  # noqa: ANN401 - pymilvus has no types
    (row,) = client.query(name, filter=key, output_fields=["*"])
    return dict(row)


def last_bit_of(vector: list[float]) -> Any:  # noqa: ANN401 - numpy's own
    bits = np.array(vector, dtype=np.float32).view(np.uint32)
    bits[-1] ^= 1
    return bits.view(np.float32)


def plant_rows(uri: str) -> None:
    """In `stirred`: a row deleted, one added, a vector's last bit, a dynamic field, another partition, no partition."""
    name = target("stirred")
    with connected(uri) as client:
        client.delete(name, ids=[9], partition_name="north")
        client.insert(name, [{**sources.dynamic_rows(0, 1)[0], "id": 5000}], partition_name="south")
        bent = read(client, name, "id == 12")
        client.upsert(name, [{**bent, "vector": last_bit_of(bent["vector"])}], partition_name="north")
        client.upsert(name, [{**read(client, name, "id == 15"), "label": "other"}], partition_name="north")
        moved = read(client, name, "id == 18")
        client.delete(name, ids=[18], partition_name="north")
        client.insert(name, [moved], partition_name="south")
        client.release_partitions(name, ["nobody"])
        client.drop_partition(name, "nobody")


def plant_values(uri: str) -> None:
    """In `kinds`: a number's last bit, a word of an array, a value inside of JSON, a row twice."""
    name = target("kinds")
    with connected(uri) as client:
        rows = {
            number: read(client, name, f'code == "key-{number:04d}-{"äß漢"[number % 3]}"') for number in (1, 3, 4, 5)
        }
        rows[1]["a_double"] = float(np.nextafter(rows[1]["a_double"], np.inf))
        rows[3]["many_words"] = ["", "ä", "sword"]
        rows[4]["a_json"] = {**rows[4]["a_json"], "n": 5}
        client.upsert(name, [rows[1], rows[3], rows[4]])
        client.insert(name, [rows[5]])


def plant_index(uri: str) -> None:
    """In `tuned`: another parameter of an index, and a property."""
    name = target("tuned")
    with connected(uri) as client:
        client.release_collection(name)
        client.drop_index(name, "by_meaning")
        parameters = client.prepare_index_params()
        parameters.add_index(
            "vector", index_name="by_meaning", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 16}
        )
        client.create_index(name, parameters)
        client.alter_collection_properties(name, {"collection.ttl.seconds": 86_400})
        client.load_collection(name)


def plant_losses(uri: str) -> None:
    """`lost` loses its index and its alias, and so is not loaded."""
    name = target("lost")
    with connected(uri) as client:
        client.release_collection(name)
        client.drop_index(name, "vector")
        client.drop_alias("ver_lost_live")


def plant_misrouted(bench: Bench) -> set[int]:
    """In `tenants`: the rows of one partition are taken out, and imported into another; their keys."""
    here, there = CollectionRef("default", source("tenants")), CollectionRef("default", target("tenants"))
    with closing(GrpcMilvus(MilvusEndpoint(uri=bench.a.uri, plan_field="source.milvus"))) as milvus:
        segment, collection = milvus.list_segments(here)[0], milvus.find_collection(here)
    assert collection is not None
    home = collection.partition_name(segment.partition_id)
    folder = f"backup/ver/binlogs/%s/{collection.collection_id}/{segment.partition_id}/{segment.segment_id}"
    logs, deltas = (bench.bucket_keys(folder % kind) for kind in ("insert_log", "delta_log"))
    (primary,) = [key for key in logs if "/100/" in key]
    keys = {int(key) for key in read_keys(bench.read_object(primary), DataType.INT64, key=primary)}
    kinds = ["insert_log", "delta_log"] if deltas else ["insert_log"]
    batch = SegmentBatch(
        number=1,
        partition_id=segment.partition_id,
        partition_name=next(each.name for each in collection.partitions if each.name != home),
        segment_ids=(segment.segment_id,),
        rows=segment.num_rows,
        objects=len(logs),
        delta_objects=len(deltas),
        size_bytes=1,
        entries=(tuple(f"{folder % kind}/{segment.segment_id}" for kind in kinds),),
    )
    with connected(bench.b.uri) as client:
        client.delete(there.name, ids=sorted(keys))
    with closing(GrpcMilvus(MilvusEndpoint(uri=bench.b.uri, plan_field="target.milvus"))) as milvus:
        tag = ImportTag(run_id="planted", batch_key="planted", attempt=1)
        job = milvus.start_import(there, batch, end_ts=LATEST_TS, tag=tag)
        while (found := milvus.find_import_job(there, job)) is None or found.state is not ImportState.COMPLETED:
            time.sleep(0.5)
    with connected(bench.b.uri) as client:  # what was imported shows after a while, or now
        client.release_collection(there.name)
        client.load_collection(there.name)
    return keys - {1, 2, 3}


def plant(bench: Bench) -> set[int]:
    """All of it; the keys of the rows that lie in a wrong partition."""
    plant_rows(bench.b.uri)
    plant_values(bench.b.uri)
    plant_index(bench.b.uri)
    plant_losses(bench.b.uri)
    misrouted = plant_misrouted(bench)
    with connected(bench.a.uri) as client:  # at the source, after the cut
        for name in ("moved", "gone"):
            client.upsert(source(name), sources.plain_rows(0, 60)[50:60])
            client.delete(source(name), ids=[20])
        client.drop_collection(source("left"))
    for key in [key for key in bench.bucket_keys("backup/ver/binlogs/insert_log") if is_of_gone(bench, key)]:
        bench.delete_object(key)
    return misrouted


def is_of_gone(bench: Bench, key: str) -> bool:
    """Whether an object of the dump is of the collection `gone`."""
    full = json.loads(bench.read_object("backup/ver/meta/full_meta.json"))
    (found,) = [each for each in full["collection_backups"] if each["collection_name"] == source("gone")]
    return f"/{found['collection_id']}/" in key


@pytest.fixture(scope="module")
def story(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Migrated at level full, verified, planted, verified again."""
    shell = Shell(tmp_path_factory.mktemp("verification"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write(
        "plan.yaml",
        f"version: 1\nname: ver\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\n"
        'collections: [{source: "ver_*", target: "{{ collection }}_bak"}]\noptions: {verify: full}\n',
    )
    fill(bench)
    answers = {"apply": shell.run("apply", "plan.yaml", "--yes"), "equal": shell.run("verify", "plan.yaml")}
    misrouted = plant(bench)
    answers["text"] = shell.run("verify", "plan.yaml", code=50)
    answers |= shell.run_all(
        {
            "json": (50, ("verify", "plan.yaml", "--level", "full", "--format", "json")),
            "moved": (0, ("verify", "plan.yaml", "--only", source("moved"))),
            "gone": (51, ("verify", "plan.yaml", "--only", source("gone"))),
            "sample": (50, ("verify", "plan.yaml", "--level", "sample", "--only", source("kinds"))),
            "counts": (0, ("verify", "plan.yaml", "--level", "counts", "--only", source("tuned"))),
        }
    )
    found = {each["source"].removeprefix("ver_"): each for each in json.loads(answers["json"].out)["collections"]}
    return Story(answers=answers, found=found, misrouted=misrouted)


def test_what_was_migrated_is_equal_in_every_value(story: Story) -> None:
    for answer in (story.answers["apply"], story.answers["equal"]):
        assert "source and target are equal: every value of 493 rows" in answer.out
    assert "differ" not in story.answers["equal"].out


def test_searches_find_the_same_neighbours(story: Story) -> None:
    assert "searches by vector found 100% of the nearest 10 at both sides" in story.answers["equal"].out


def test_an_unloaded_source_is_compared_by_its_dump(story: Story, bench: Bench) -> None:
    assert "dump and target are equal: every value of 87 rows; the source is not loaded" in story.answers["apply"].out
    assert story.found["unloaded"]["compared_with"] == "dump"
    with connected(bench.a.uri) as client:
        assert client.get_load_state(source("unloaded"))["state"].name == "NotLoad"


def test_every_row_that_was_tampered_with_is_named(story: Story) -> None:
    said = story.messages("stirred")
    assert {
        "row 9 in partition 'north' is missing at the target",
        "row 5000 in partition 'south' is only at the target",
        "row 18 in partition 'north' is missing at the target",
        "row 18 in partition 'south' is only at the target",
        "partition 'nobody' is there at the source, missing at the target",
    } <= said
    (vector,) = [each for each in story.found["stirred"]["differences"] if each["field"] == "vector"]
    assert (vector["key"], vector["partition"]) == ("12", "north")
    assert "(component 7)" in vector["source"]
    assert vector["source"] != vector["target"]
    (dynamic,) = [each for each in story.found["stirred"]["differences"] if each["field"] == "$meta"]
    assert dynamic["key"] == "15"
    assert '"other"' in dynamic["target"]
    assert '"first"' in dynamic["source"]
    assert len(said) == 7


def test_every_value_that_was_tampered_with_is_named(story: Story) -> None:
    found = {(each["key"], each["field"]) for each in story.found["kinds"]["differences"] if each["kind"] == "value"}
    assert found == {("'key-0001-ß'", "a_double"), ("'key-0003-ä'", "many_words"), ("'key-0004-ß'", "a_json")}
    (copies,) = [each for each in story.found["kinds"]["differences"] if each["kind"] == "copies of a row"]
    assert (copies["key"], copies["source"], copies["target"]) == ("'key-0005-漢'", "once", "2 times")


def test_an_index_parameter_and_a_property_are_named(story: Story) -> None:
    assert story.messages("tuned") == {
        "index on 'vector', nlist: 32 at the source, 16 at the target",
        "setting property collection.ttl.seconds: 864000 at the source, 86400 at the target",
    }
    assert "equal: 120 rows at both sides" in story.answers["counts"].out


def test_what_a_target_lost_besides_rows_is_named(story: Story) -> None:
    assert story.messages("lost") == {
        "index on 'vector': HNSW COSINE on vector at the source, none at the target",
        "alias 'ver_lost_live' points at no collection at the target, and not at ver_lost_bak",
        "load state: loaded by the run, not loaded now",
    }


def test_a_collection_that_is_gone_from_the_source_is_compared_by_its_dump(story: Story) -> None:
    assert (story.found["left"]["exit_code"], story.found["left"]["compared_with"]) == (0, "dump")
    assert story.found["left"]["verdict"].endswith("every value of 33 rows; the source is gone")


def test_rows_in_a_partition_that_their_key_does_not_lead_to_are_named(story: Story) -> None:
    differences = story.found["tenants"]["differences"]
    assert {each["kind"] for each in differences} == {"routing"}
    assert {int(each["key"]) for each in differences} <= story.misrouted
    assert story.found["tenants"]["differences_total"] == len(story.misrouted) > 0
    assert differences[0]["field"] == "tenant"


def test_a_source_that_moved_is_told_from_a_difference(story: Story) -> None:
    assert "dump and target are equal: every value of 193 rows" in story.answers["moved"].out
    assert "the source has other rows now than at the cut" in story.answers["moved"].out
    assert "the source has moved since the cut, and that may be why" in story.answers["gone"].out
    assert story.found["gone"]["exit_code"] == 51


def test_the_text_has_a_verdict_for_each_and_its_differences_below(story: Story) -> None:
    said = story.answers["text"].out
    assert "ver_tuned → ver_tuned_bak  source and target differ: 1 setting, 1 index" in said
    assert "    index on 'vector', nlist: 32 at the source, 16 at the target\n" in said
    assert said.count("the source has other rows now than at the cut") == 1


def test_a_small_sample_is_all_rows(story: Story) -> None:
    assert story.found["equal"]["exit_code"] == 0
    assert "differ: " in story.answers["sample"].out
