"""From Milvus 2.2.16, which writes the deletes of flushed rows long after the flush, to 2.3.5, between directories."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.lab import Lab, LabUnavailable
from migrator.lab.wheel import OLDER_VERSION, require_lab
from tests.support.bench import skip_unless_possible
from tests.support.cli import Answer, Shell
from tests.support.features import BY_NAME, Feature, rows
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.lab import LabState

PLAN = """\
version: 1
name: older
clusters: {clusters}
source: a
target: b
staging: {{root_path: {staging}, backup_name: from_older}}
collections:
{mappings}
"""
_EVERY = {"INT64": "key <= 9223372036854775807", "VARCHAR": 'key >= ""'}


def _by_word(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(0, 200, room=lambda n: f"room {n % 40}", note=lambda n: {"n": n}))
    client.flush(name)
    client.delete(name, ids=list(range(0, 200, 25)))
    client.insert(name, rows(0, 200, seed=3, room=lambda n: f"room {n % 40}", note=lambda n: {"n": n})[25:26])


def _plain(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(0, 100, year=lambda n: 1900 + n, note=lambda n: [n, str(n)]))
    client.flush(name)
    client.delete(name, ids=[1, 2, 3])
    client.create_alias(name, f"{name}_alias")


COLLECTIONS = (
    *(
        BY_NAME[name]
        for name in (
            "f_empty",
            "f_never_flushed",
            "f_deleted_everywhere",
            "f_deleted_in_shards",
            "f_auto_int",
            "f_odd_keys",
            "f_awkward_values",
        )
    ),
    replace(BY_NAME["f_partitioned"], load=True),
    Feature(
        name="f_by_word",
        rows=193,
        stir=_by_word,
        dynamic=True,
        fields={"room": {"datatype": "VARCHAR", "max_length": 20, "is_partition_key": True}},
        create={"num_partitions": 5, "num_shards": 2},
    ),
    Feature(
        name="f_plain",
        rows=97,
        stir=_plain,
        dynamic=True,
        fields={"year": {"datatype": "INT32"}},
        index={"index_type": "HNSW", "metric_type": "IP", "params": {"M": 8, "efConstruction": 64}},
    ),
)


@dataclass(frozen=True, slots=True)
class Moved:
    """What was migrated, and by which commands."""

    lab: LabState
    shell: Shell
    answer: Answer


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    """All of them by one plan, right after their last deletes."""
    folder = tmp_path_factory.mktemp("older")
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)
    lab = Lab(folder / "lab")
    state = lab.up(auto_compaction=False, storage="local", source_version=OLDER_VERSION)
    try:
        with ThreadPoolExecutor(4) as pool:
            for job in [pool.submit(feature.make, state.instances[0].uri) for feature in COLLECTIONS]:
                job.result()
        work = folder / "work"
        work.mkdir()
        shell = Shell(work, state.environment)
        mappings = "\n".join(f"  - {feature.name}" for feature in COLLECTIONS)
        shell.write("plan.yaml", PLAN.format(clusters=lab.clusters_file, staging=folder / "dumps", mappings=mappings))
        yield Moved(state, shell, shell.run("apply", "plan.yaml", "--yes"))
    finally:
        lab.down()


def look(uri: str, feature: Feature) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The rows by key, and what else an outsider sees; in the words of 2.2, which knows neither `*` nor `count(*)`."""
    with connected(uri) as client:
        described = client.describe_collection(feature.name)
        names = [field["name"] for field in described["fields"]]
        found = client.query(
            feature.name,
            filter=_EVERY[feature.key],
            output_fields=[*names, "$meta"] if feature.dynamic else names,
            consistency_level="Strong",
            limit=16_384,
        )
        assert len(found) == len({row["key"] for row in found})
        indexes = client.list_indexes(feature.name)
        looks = {
            "fields": described["fields"],
            "shards": described["num_shards"],
            "partitions": set(client.list_partitions(feature.name)),
            "indexes": {name: _index(client.describe_index(feature.name, name)) for name in indexes},
            "aliases": set(described["aliases"]),
            "loaded": client.get_load_state(feature.name)["state"].name,
        }
        return {row["key"]: dict(row) for row in found}, looks


def _index(described: dict[str, Any]) -> dict[str, Any]:
    told = {"index_type", "metric_type", "field_name", "index_name", "params"}
    return {key: value for key, value in described.items() if key in told}


@pytest.mark.parametrize("feature", COLLECTIONS, ids=lambda feature: feature.name)
def test_it_is_the_same_collection(moved: Moved, feature: Feature) -> None:
    a, b = moved.lab.instances
    left, seen_left = look(a.uri, feature)
    right, seen_right = look(b.uri, feature)
    assert len(left) == feature.rows, "the source is not what it should be"
    assert right.keys() == left.keys()
    assert right == left
    assert seen_right == seen_left


def test_the_run_and_a_later_look_say_that_all_is_equal(moved: Moved) -> None:
    assert moved.answer.text.count("dump and target are equal") >= len(COLLECTIONS)
    later = moved.shell.run("verify", "plan.yaml", "--level", "full").text
    assert later.count(" are equal: every value of ") == len(COLLECTIONS)
    assert "Nothing to do" in moved.shell.run("apply", "plan.yaml", "--yes").out
