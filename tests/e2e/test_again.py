"""A plan applied in parts, again, after additions, and after one side has moved on."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import sources
from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import collections_of, connected, portray, wait_until_indexed

if TYPE_CHECKING:
    from tests.support.bench import Bench, StoredObject

NAMES = ("again_one", "again_two", "again_three")
TARGETS = ("again_one", "again_two_bak", "again_three")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What every command said, and what lay in the bucket before and after."""

    answers: dict[str, Answer]
    source_before: dict[str, StoredObject]
    source_after: dict[str, StoredObject]
    dumped: dict[str, list[str]]
    """After each apply, the collections that the dump lists."""
    there: dict[str, list[str]]
    """After each apply, the targets that exist."""


def dump_lists(bench: Bench) -> list[str]:
    """The collections in the dump's `full_meta.json`."""
    full = json.loads(bench.read_object("backup/again/meta/full_meta.json"))
    return sorted(entry["collection_name"] for entry in full["collection_backups"])


def targets_there(bench: Bench) -> list[str]:
    """The plan's targets at the second server."""
    with connected(bench.b.uri) as client:
        return sorted(name for name in client.list_collections() if name.startswith("again_"))


def fill(bench: Bench) -> None:
    """Three collections, flushed by their user and at rest."""

    def fill_one(name: str) -> None:
        sources.fill_small(bench.a.uri, name, rows=150, deleted=5)
        with connected(bench.a.uri) as client:
            client.flush(name)
            wait_until_indexed(client, name)

    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(fill_one, name) for name in NAMES]:
            job.result()


@pytest.fixture(scope="module")
def story(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One plan over its life."""
    shell = Shell(tmp_path_factory.mktemp("again"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    head = (
        f"version: 1\nname: again\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\ncollections:\n"
        "  - again_one\n  - {source: again_two, target: again_two_bak}\n"
    )
    shell.write("plan.yaml", head)
    fill(bench)
    answers: dict[str, Answer] = {}
    dumped: dict[str, list[str]] = {}
    there: dict[str, list[str]] = {}

    def apply(name: str, *arguments: str) -> None:
        answers[name] = shell.run("apply", "plan.yaml", "--yes", *arguments)
        dumped[name] = dump_lists(bench)
        there[name] = targets_there(bench)

    source_before = bench.bucket_keys("files_A/")
    apply("only one", "--only", "again_one", "--format", "json")
    answers["plan with one done"] = shell.run("plan", "plan.yaml", "--detailed-exitcode", code=3)
    apply("the rest")
    shell.write("plan.yaml", head + "  - again_three\n")
    answers["plan with three"] = shell.run("plan", "plan.yaml", "--format", "json")
    apply("one more")
    source_after = bench.bucket_keys("files_A/")
    answers["nothing left"] = shell.run("plan", "plan.yaml", "--detailed-exitcode")
    answers["verify equal"] = shell.run("verify", "plan.yaml")

    with connected(bench.a.uri) as client:
        client.insert("again_one", sources.plain_rows(1000, 1010))
    with connected(bench.b.uri) as client:
        client.delete("again_three", ids=[30, 31])
    answers["source moved"] = shell.run("apply", "plan.yaml", "--yes")
    answers["verify moved"] = shell.run("verify", "plan.yaml", "--only", "again_one")
    answers["count moved"] = shell.run("verify", "plan.yaml", "--level", "counts", "--only", "again_one", code=51)
    answers["verify differs"] = shell.run("verify", "plan.yaml", code=50)
    answers["runs"] = shell.run("runs", "--format", "json")

    shutil.move(shell.folder / ".migrator", shell.folder / "elsewhere")
    answers["no state"] = shell.run("apply", "plan.yaml", "--yes", code=11)
    answers["state elsewhere"] = shell.run("plan", "plan.yaml", "--state-dir", "elsewhere")
    answers["state by variable"] = shell.run("plan", "plan.yaml", MIGRATOR_STATE_DIR="elsewhere")
    return Story(answers=answers, source_before=source_before, source_after=source_after, dumped=dumped, there=there)


def test_the_source_is_as_its_user_left_it(story: Story) -> None:
    """Key for key, size for size, ETag for ETag, over three runs."""
    assert story.source_before
    assert story.source_after == story.source_before


def test_only_migrates_only_that(story: Story) -> None:
    assert story.there["only one"] == ["again_one"]
    assert story.dumped["only one"] == ["again_one"]
    assert "= again_one" in story.answers["plan with one done"].out
    assert "+ again_two → again_two_bak" in story.answers["plan with one done"].out


def test_json_events_tell_the_whole_run(story: Story) -> None:
    events = story.answers["only one"].events
    kinds = [event["event"] for event in events]

    assert events[0]["format_version"] == 1
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_ended"
    assert events[-1]["exit_code"] == 0
    (collection,) = events[-1]["collections"]
    assert collection.pop("verdict").startswith("source and target are equal: every value of 145 rows; ")
    assert collection == {"source": "again_one", "target": "again_one", "state": "done", "rows": 145}
    finished = {event["step"].partition(":")[0] for event in events if event["event"] == "step_finished"}
    assert finished == {
        "flush",
        "dump_meta",
        "copy_segments",
        "create_collection",
        "import_segments",
        "create_index",
        "load_collection",
        "verify_collection",
        "seal_dump",
    }


def test_the_rest_is_left_to_a_later_apply(story: Story) -> None:
    assert story.there["the rest"] == ["again_one", "again_two_bak"]
    assert story.dumped["the rest"] == ["again_one", "again_two"]


def test_a_mapping_added_to_a_done_plan_is_one_change(story: Story) -> None:
    plan: dict[str, Any] = json.loads(story.answers["plan with three"].out)

    assert [c["action"] for c in plan["collections"]] == ["done", "done", "migrate"]
    assert {step["collection"] for step in plan["steps"]} == {"", "again_three"}
    assert story.there["one more"] == sorted(TARGETS)
    assert story.dumped["one more"] == sorted(NAMES)
    assert "Nothing to do" in story.answers["nothing left"].out


def test_rows_are_equal_after_all_that(story: Story, bench: Bench) -> None:
    assert story.answers["verify equal"].out.count("source and target are equal: every value of 145 rows") == 3
    left, right = portray(bench.a.uri, "again_two"), portray(bench.b.uri, "again_two_bak")
    assert right.rows == left.rows
    assert right.count == left.count == 145


def test_a_source_that_moved_on_is_noticed_and_left_alone(story: Story) -> None:
    said = story.answers["source moved"].out

    assert "= again_one" in said
    assert said.count("the source has changed since run again-") == 1
    assert "Nothing to do" in said


def test_verify_tells_a_moved_source_from_a_difference(story: Story) -> None:
    assert "the source has moved since the cut" in story.answers["count moved"].out
    assert (
        "dump and target are equal: every value of 145 rows; the source has other" in story.answers["verify moved"].out
    )
    said = story.answers["verify differs"].out
    assert "again_two → again_two_bak  source and target are equal: every value of 145 rows" in said
    assert "again_three → again_three  dump and target differ: 2 missing rows" in said
    assert "    row 30 in partition '_default' is missing at the target\n" in said


def test_every_apply_with_changes_is_a_run(story: Story) -> None:
    runs = json.loads(story.answers["runs"].out)

    assert [run["state"] for run in runs] == ["finished"] * 3


def test_without_its_state_the_targets_are_conflicts(story: Story) -> None:
    said = story.answers["no state"].err

    for number, target in enumerate(TARGETS):
        assert f"collections[{number}].target: the target already has a collection {target}" in said


def test_state_may_lie_elsewhere(story: Story, bench: Bench) -> None:
    for name in ("state elsewhere", "state by variable"):
        assert "= again_one" in story.answers[name].out
        assert "Nothing to do" in story.answers[name].out
    assert " ".join(collections_of(bench.b.uri)["default"]).count("again_") == 3
