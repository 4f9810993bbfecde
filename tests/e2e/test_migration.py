"""A whole migration of all kinds of collections in one plan, looked at from all sides by an outsider."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import sources
from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import Portrait, collections_of, connected, find_keys, portray, wait_until_indexed

if TYPE_CHECKING:
    from tests.support.bench import Bench, StoredObject

PLAN = """\
version: 1
name: all-kinds
description: Everything a collection can be.
clusters: {clusters}
source: a
target: b
vars: {{prefix: eu_, suffix: _new}}
staging: {{root_path: backup, backup_name: my_backup}}
collections:
  - {{source: stirred, target: "stirred{{{{ vars.suffix }}}}"}}
  - kinds
  - {{source: binary, target: "{{{{ collection }}}}_copy"}}
  - by_tenant
  - hollow
  - wiped
  - unloaded
  - bare
  - tiny
  - tuned
  - source: "shop_eu.*"
    exclude: ["shop_eu.tmp_*"]
    target: "{{{{ vars.prefix }}}}{{{{ database }}}}.{{{{ collection }}}}_bak"
"""
HERE = "default"
SHOP, SHOP_THERE = "shop_eu", "eu_shop_eu"
PAIRS = {
    (HERE, "stirred"): (HERE, "stirred_bak"),
    (HERE, "kinds"): (HERE, "kinds"),
    (HERE, "binary"): (HERE, "binary_copy"),
    (HERE, "by_tenant"): (HERE, "by_tenant"),
    (HERE, "hollow"): (HERE, "hollow"),
    (HERE, "wiped"): (HERE, "wiped"),
    (HERE, "unloaded"): (HERE, "unloaded"),
    (HERE, "bare"): (HERE, "bare"),
    (HERE, "tiny"): (HERE, "tiny"),
    (HERE, "tuned"): (HERE, "tuned"),
    (SHOP, "order_heads"): (SHOP_THERE, "order_heads_bak"),
    (SHOP, "order_lines_2023"): (SHOP_THERE, "order_lines_2023_bak"),
}
NAMES = [source for _, source in PAIRS]
COUNTS = {
    "stirred": 770,  # 800, less 80, and 50 that were growing
    "kinds": 177,
    "binary": 145,
    "by_tenant": 297,
    "hollow": 0,
    "wiped": 0,
    "unloaded": 87,
    "bare": 87,
    "tiny": 237,
    "tuned": 120,
    "order_heads": 38,
    "order_lines_2023": 98,
}
META = ("backup_meta", "collection_meta", "partition_meta", "segment_meta", "full_meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a command must not change: both servers' collections, the bucket, the working directory."""

    collections: tuple[dict[str, list[str]], dict[str, list[str]]]
    objects: dict[str, StoredObject]
    files: dict[str, bytes]


def look(bench: Bench, shell: Shell) -> World:
    """Take it all in, but for the objects servers make of their indexes as they like."""
    return World(
        collections=(collections_of(bench.a.uri), collections_of(bench.b.uri)),
        objects={key: value for key, value in bench.bucket_keys().items() if "/index_files/" not in key},
        files=shell.files(),
    )


def without_locks(files: dict[str, bytes]) -> dict[str, bytes]:
    """A lock's file tells who held it last."""
    return {name: content for name, content in files.items() if "/locks/" not in name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The migration with all that was seen on its way."""

    shell: Shell
    before: World
    after_reading: World
    """After all commands that only read."""
    after: World
    after_again: World
    """After what had nothing left to do."""
    settled: dict[str, StoredObject]
    """The source's part of the bucket after a user's own flush, before the migration."""
    answers: dict[str, Answer]
    left: dict[str, Portrait]
    right: dict[str, Portrait]


def fill_source(uri: str) -> None:
    """All collections, side by side: filling is mostly waiting for flushes."""
    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(sources.fill_shop, uri),
            pool.submit(sources.fill_tiny_segments, uri, "tiny"),
            pool.submit(sources.fill_stirred, uri, "stirred"),
            pool.submit(sources.fill_kinds, uri, "kinds"),
            pool.submit(sources.fill_binary, uri, "binary"),
            pool.submit(sources.fill_by_tenant, uri, "by_tenant"),
            pool.submit(sources.fill_empty, uri, "hollow"),
            pool.submit(sources.fill_wiped, uri, "wiped"),
            pool.submit(sources.fill_unloaded, uri, "unloaded", indexed=True),
            pool.submit(sources.fill_unloaded, uri, "bare", indexed=False),
            pool.submit(sources.fill_tuned, uri, "tuned"),
        ]
        for job in jobs:
            job.result()


def settle(uri: str) -> None:
    """A user's flush of everything but `stirred`, whose last rows only the migration's own flush brings along."""

    def settle_one(place: str, name: str) -> None:
        with connected(uri, place) as client:
            if name != "stirred":
                client.flush(name)
            wait_until_indexed(client, name)

    with ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(settle_one, *pair) for pair in PAIRS]:
            job.result()


@pytest.fixture(scope="module")
def migrated(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Migrated:
    """Everything that only reads, then the migration, then all of it once more."""
    shell = Shell(tmp_path_factory.mktemp("all_kinds"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write("plan.yaml", PLAN.format(clusters=bench.clusters_file))
    given = ("plan.yaml", "--var", "suffix=_bak")
    fill_source(bench.a.uri)
    settle(bench.a.uri)
    before = look(bench, shell)
    answers = shell.run_all(
        {
            "validate": (0, ("validate", *given)),
            "plan": (3, ("plan", *given, "--detailed-exitcode")),
            "plan json": (0, ("plan", *given, "--format", "json")),
            "plan json again": (0, ("plan", *given, "--format", "json")),
            "dry run": (0, ("apply", *given, "--dry-run")),
            "dry run json": (0, ("apply", *given, "--dry-run", "--format", "json")),
            "verify": (50, ("verify", *given)),
            "runs": (0, ("runs",)),
        }
    )
    after_reading = look(bench, shell)
    answers["no terminal"] = shell.run("apply", *given, code=2)
    answers["nothing to resume"] = shell.run("apply", "--resume")
    settled = bench.bucket_keys("files_A/")
    answers["apply"] = shell.run("apply", *given, "--yes")
    after = look(bench, shell)
    answers["again"] = shell.run("apply", *given, "--yes")
    answers |= shell.run_all(
        {
            "plan after": (0, ("plan", *given, "--detailed-exitcode")),
            "runs after": (0, ("runs",)),
            "runs json": (0, ("runs", "--format", "json")),
            "status": (0, ("status",)),
            "status json": (0, ("status", "--format", "json")),
        }
    )
    answers["again without yes"] = shell.run("apply", *given)
    answers["again json"] = shell.run("apply", *given, "--yes", "--format", "json")
    answers["resume after"] = shell.run("apply", *given, "--resume")
    after_again = look(bench, shell)
    left, right = portray_all(bench)
    return Migrated(
        shell=shell,
        before=before,
        after_reading=after_reading,
        after=after,
        after_again=after_again,
        settled=settled,
        answers=answers,
        left=left,
        right=right,
    )


def portray_all(bench: Bench) -> tuple[dict[str, Portrait], dict[str, Portrait]]:
    """Every pair, by the source's name."""
    with ThreadPoolExecutor(6) as pool:
        left = {name: pool.submit(portray, bench.a.uri, name, place) for place, name in PAIRS}
        right = {source[1]: pool.submit(portray, bench.b.uri, name, place) for source, (place, name) in PAIRS.items()}
        return (
            {name: job.result() for name, job in left.items()},
            {name: job.result() for name, job in right.items()},
        )


# -- what only reads --------------------------------------------------------------------------------------------------


def test_what_only_reads_writes_nothing(migrated: Migrated) -> None:
    assert migrated.after_reading.collections == migrated.before.collections
    assert migrated.after_reading.objects == migrated.before.objects
    assert migrated.after_reading.files == migrated.before.files


def test_plan_is_the_same_each_time_byte_for_byte(migrated: Migrated) -> None:
    first = migrated.answers["plan json"]

    assert first.out == migrated.answers["plan json again"].out == migrated.answers["dry run json"].out
    plan = json.loads(first.out)
    assert plan["has_changes"] is True
    assert plan["dump"] == "bucket_A/backup/my_backup"
    assert len(plan["collections"]) == len(PAIRS)


def test_dry_run_prints_what_plan_prints(migrated: Migrated) -> None:
    assert migrated.answers["dry run"].out == migrated.answers["plan"].out


def test_plan_names_every_pair_and_what_does_not_come_along(migrated: Migrated) -> None:
    shown = migrated.answers["plan"].out

    assert "stirred → stirred_bak" in shown
    assert "shop_eu.order_lines_2023 → eu_shop_eu.order_lines_2023_bak" in shown
    assert "tmp_" not in shown
    assert "12 collections to migrate" in shown
    assert "do not come along" in shown


def test_without_a_terminal_apply_asks_for_yes(migrated: Migrated) -> None:
    assert "--yes" in migrated.answers["no terminal"].err


def test_resume_without_an_unfinished_run_says_so(migrated: Migrated) -> None:
    assert "no unfinished run" in migrated.answers["nothing to resume"].out
    assert "no runs" in migrated.answers["runs"].out


def test_verify_before_the_migration_finds_nothing_at_the_target(migrated: Migrated) -> None:
    assert "stirred_bak is not at the target" in migrated.answers["verify"].out


# -- rows and all else ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_there_once_as_it_was(migrated: Migrated, name: str) -> None:
    left, right = migrated.left[name], migrated.right[name]

    assert len(left.rows) == left.count == COUNTS[name]
    assert right.count == left.count
    assert right.rows == left.rows


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_in_their_partitions(migrated: Migrated, name: str) -> None:
    assert migrated.right[name].partitions == migrated.left[name].partitions


@pytest.mark.parametrize("name", NAMES)
def test_description_indexes_aliases_and_load_state_are_equal(migrated: Migrated, name: str) -> None:
    left, right = migrated.left[name], migrated.right[name]

    assert right.description == left.description
    assert right.indexes == left.indexes
    assert right.aliases == left.aliases
    assert right.is_loaded is left.is_loaded


def test_deletes_and_upserts_after_the_flush_came_along(migrated: Migrated) -> None:
    rows = migrated.right["stirred"].rows

    assert not rows.keys() & set(range(0, 800, 10))
    assert {key for key, row in rows.items() if row["label"] == "second"} == {
        n for n in range(1, 800) if n % 30 in {3, 7}
    }
    assert rows[849]["nested"] == {"n": 849, "even": False}
    assert migrated.right["stirred"].aliases == {"stirred_live", "stirred_second"}


@pytest.mark.usefixtures("migrated")
def test_what_was_excluded_stayed_behind(bench: Bench) -> None:
    with connected(bench.b.uri, SHOP_THERE) as client:
        assert sorted(client.list_collections()) == ["order_heads_bak", "order_lines_2023_bak"]


@pytest.mark.parametrize("tenant", sources.TENANTS)
def test_a_filter_by_partition_key_finds_all_rows(migrated: Migrated, bench: Bench, tenant: str) -> None:
    wanted = {key for key, row in migrated.left["by_tenant"].rows.items() if row["tenant"] == tenant}

    assert find_keys(bench.b.uri, "by_tenant", f'tenant == "{tenant}"') == wanted


def test_a_filter_by_a_dynamic_field_finds_its_rows(migrated: Migrated, bench: Bench) -> None:
    wanted = {key for key, row in migrated.left["stirred"].rows.items() if row["label"] == "second"}

    assert find_keys(bench.b.uri, "stirred_bak", 'label == "second"') == wanted


def test_a_search_finds_the_same_neighbours(migrated: Migrated, bench: Bench) -> None:
    vector = migrated.left["stirred"].rows[849]["vector"]
    hits = []
    for uri, name in ((bench.a.uri, "stirred"), (bench.b.uri, "stirred_live")):
        with connected(uri) as client:
            found = client.search(name, data=[vector], limit=5, consistency_level="Strong", search_params={"ef": 64})
        hits.append([hit["id"] for hit in found[0]])

    assert hits[0][0] == hits[1][0] == 849
    assert hits[0] == hits[1]


def test_the_program_says_how_it_ended_for_each(migrated: Migrated) -> None:
    said = migrated.answers["apply"].out

    assert "stirred → stirred_bak  770 rows  done" in said
    assert "hollow → hollow  0 rows  done" in said
    assert "bucket_A/backup/my_backup/" in said


# -- objects ----------------------------------------------------------------------------------------------------------


def test_source_objects_are_untouched(migrated: Migrated) -> None:
    """All that was there is there, unchanged; new is only what the flush of growing rows wrote."""
    now = {key: value for key, value in migrated.after.objects.items() if key.startswith("files_A/")}
    then = {key: value for key, value in migrated.settled.items() if "/index_files/" not in key}
    stirred = {key.split("/")[2] for key in now.keys() - then.keys()}

    assert {key: now.get(key) for key in then} == then
    assert len(stirred) == 1


def test_dump_has_the_tree_of_milvus_backup(migrated: Migrated) -> None:
    dump = {
        key.removeprefix("backup/my_backup/") for key in migrated.after.objects if key.startswith("backup/my_backup/")
    }
    binlogs = [key.split("/") for key in sorted(dump) if key.startswith("binlogs/")]

    assert {key for key in dump if not key.startswith("binlogs/")} == {f"meta/{name}.json" for name in META}
    for _, kind, _collection, _partition, group, segment, *rest in binlogs:
        assert kind in {"insert_log", "delta_log"}
        assert group == segment
        assert len(rest) == (2 if kind == "insert_log" else 1)


def test_dump_holds_the_binlogs_of_the_source(migrated: Migrated) -> None:
    objects = migrated.after.objects
    staged = {key: value for key, value in objects.items() if key.startswith("backup/my_backup/binlogs/")}
    assert staged
    for key, value in staged.items():
        kind, collection, partition, group, *rest = key.removeprefix("backup/my_backup/binlogs/").split("/")
        origin = "/".join(("files_A", kind, collection, partition, *rest))
        assert group == rest[0]
        assert objects[origin].size_bytes == value.size_bytes


def read_json(bench: Bench, key: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """An object of the bucket."""
    return json.loads(bench.read_object(key))


def test_meta_files_list_what_was_dumped(migrated: Migrated, bench: Bench) -> None:
    meta = {name: read_json(bench, f"backup/my_backup/meta/{name}.json") for name in META}
    full = meta["full_meta"]
    collections = {entry["collection_name"]: entry for entry in full["collection_backups"]}
    segments = [
        segment
        for entry in full["collection_backups"]
        for partition in entry["partition_backups"]
        for segment in partition.get("segment_backups", [])
    ]
    keys = {key for key in migrated.after.objects if key.startswith("backup/my_backup/binlogs/insert_log/")}

    assert full["name"] == meta["backup_meta"]["name"] == "my_backup"
    assert meta["backup_meta"]["id"] == full["id"]
    assert set(collections) == set(NAMES) == {e["collection_name"] for e in meta["collection_meta"]["infos"]}
    assert {entry["db_name"] for entry in collections.values()} == {HERE, SHOP}
    assert {entry["segment_id"] for entry in segments} == {int(key.split("/")[7]) for key in keys}
    assert len(segments) == len(meta["segment_meta"]["infos"])
    assert all(segment["group_id"] == segment["segment_id"] for segment in segments)
    assert len([s for s in segments if s["collection_id"] == collections["tiny"]["collection_id"]]) >= 20
    assert len(meta["partition_meta"]["infos"]) == sum(len(c["partition_backups"]) for c in collections.values())
    assert collections["tuned"]["schema"]["fields"][3]["name"] == "vector"
    assert len(collections["tuned"]["index_infos"]) == 3
    assert collections["by_tenant"]["backup_timestamp"] > collections["by_tenant"]["created_timestamp"]


def test_data_lies_under_the_target_with_new_ids(migrated: Migrated, bench: Bench) -> None:
    new = {key.split("/")[2] for key in migrated.after.objects if key.startswith("files_B/insert_log/")}
    old = {key.split("/")[2] for key in migrated.after.objects if key.startswith("files_A/insert_log/")}

    assert new
    assert not new & old
    with connected(bench.b.uri) as client:
        assert str(client.describe_collection("stirred_bak")["collection_id"]) in new


# -- again ------------------------------------------------------------------------------------------------------------


def test_a_second_apply_has_nothing_to_do_and_writes_nothing(migrated: Migrated) -> None:
    for name in ("again", "again without yes", "plan after", "resume after"):
        said = migrated.answers[name].out
        assert "  = stirred → stirred_bak" in said
        assert "Nothing to do" in said
        assert "changed since" not in said
    after, again = migrated.after, migrated.after_again
    assert again.collections == after.collections
    assert again.objects == after.objects
    assert without_locks(again.files) == without_locks(after.files)


def test_a_second_apply_says_so_as_json_too(migrated: Migrated) -> None:
    events = migrated.answers["again json"].events

    assert events[0]["format_version"] == 1
    assert events[0]["event"] == "nothing_to_do"


def test_runs_and_status_tell_of_the_run(migrated: Migrated) -> None:
    (run,) = json.loads(migrated.answers["runs json"].out)
    status = json.loads(migrated.answers["status json"].out)

    assert run["state"] == "finished"
    assert run["run_id"] in migrated.answers["runs after"].out
    assert run["run_id"] in migrated.answers["status"].out
    assert status["run_id"] == run["run_id"]
    assert {step["state"] for step in status["steps"]} == {"finished"}
    assert {c["source"]: c["rows"] for c in status["collections"] if "." not in c["source"]} == {
        name: COUNTS[name] for place, name in PAIRS if place == HERE
    }


def test_the_state_directory_keeps_no_secret(migrated: Migrated) -> None:
    assert migrated.after.files
    for name, content in migrated.after.files.items():
        assert SECRET.encode() not in content, name


def test_verify_finds_both_sides_equal(migrated: Migrated) -> None:
    said = migrated.shell.run("verify", "plan.yaml", "--var", "suffix=_bak", "--only", "stirred*", "--format", "json")
    (result,) = json.loads(said.out)["collections"]

    assert result["exit_code"] == 0
    assert {c["partition"]: c["target_rows"] for c in result["counts"]} == {
        name: len(keys) for name, keys in migrated.right["stirred"].partitions.items()
    }
