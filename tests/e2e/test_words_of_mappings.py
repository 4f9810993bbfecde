"""What the words of a mapping do on real servers: partitions, indexes, aliases, names, and a dump that is not kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import Portrait, collections_of, connected, portray, wait_until_indexed

if TYPE_CHECKING:
    from tests.support.bench import Bench, StoredObject

PLAN = """\
version: 1
name: words
clusters: {clusters}
source: a
target: b
vars: {{suffix: _2024, region: nor}}
staging: {{backup_name: passing, keep: false}}
options: {{verify: counts}} # a deeper one could not read w_by_tenant, which has no index, and the dump would stay
collections:
  - source: w_stirred
    target: "w_stirred{{{{ vars.suffix }}}}"
    partitions: ["{{{{ vars.region }}}}*", nobody]
    indexes: auto
    aliases: move
  - source: w_tuned
    target: w_archive.w_tuned
    indexes:
      - {{field: vector, index_type: IVF_SQ8, metric_type: IP, params: {{nlist: 16}}, name: by_sense}}
      - {{field: word, index_type: marisa-trie}}
    aliases: [w_tuned_live, w_words]
  - {{source: w_binary, indexes: auto, aliases: none}}
  - {{source: w_by_tenant, target: w_mix.w_by_tenant, indexes: none}}
  - {{source: "w_mix.*", target: "w_archive.{{{{ database }}}}_{{{{ collection }}}}"}}
"""
REFUSED = {
    "partition": ("{source: w_stirred, partitions: [north, west]}", "collections[0].partitions", "no partition west"),
    "partition key": ("{source: w_by_tenant, partitions: [_default_1]}", "collections[0].partitions", "partition-key"),
    "field": ("{source: w_tuned, indexes: [{field: no, index_type: FLAT}]}", "collections[0].indexes", "no field 'no'"),
    "metric": (
        "{source: w_tuned, indexes: [{field: vector, index_type: FLAT, metric_type: HAMMING}]}",
        "collections[0].indexes",
        "HAMMING does not fit FLAT",
    ),
    "alias": ("{source: w_tuned, aliases: [w_stirred_live]}", "collections[0].aliases", "is taken at the target"),
    "name": ("{source: w_tuned, aliases: [w_stirred_2023]}", "collections[0].aliases", "name of a collection"),
}
SOURCES = [("default", name) for name in ("w_stirred", "w_tuned", "w_binary", "w_by_tenant")]
SOURCES += [("w_mix", "w_mix"), ("w_mix", "_x9_1"), ("w_mix", "default")]
TARGETS = {
    "w_stirred": ("default", "w_stirred_2024"),
    "w_tuned": ("w_archive", "w_tuned"),
    "w_binary": ("default", "w_binary"),
    "w_by_tenant": ("w_mix", "w_by_tenant"),
    "w_mix": ("w_archive", "w_mix_w_mix"),
    "_x9_1": ("w_archive", "w_mix__x9_1"),
    "default": ("w_archive", "w_mix_default"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What every command said, and what was there before, after, and in the end."""

    answers: dict[str, Answer]
    files: tuple[dict[str, StoredObject], dict[str, StoredObject]]
    """The source's, before and after."""
    staged: dict[str, list[str]]
    """What lay under the dump's place and among the claims, after each command."""
    left: dict[str, Portrait]
    right: dict[str, Portrait]
    aliases: dict[str, str]
    """At the target's default database after each command, the collection behind `w_stirred_live`."""
    in_the_end: tuple[dict[str, list[str]], dict[str, list[str]]]
    """The target's collections before everything, and after the rollback."""


def fill(bench: Bench) -> None:
    """The sources, and last year's collection at the target, which has the alias."""
    with connected(bench.a.uri) as client:
        client.create_database("w_mix")
    jobs = [
        lambda: sources.fill_stirred(bench.a.uri, "w_stirred"),
        lambda: sources.fill_tuned(bench.a.uri, "w_tuned"),
        lambda: sources.fill_binary(bench.a.uri, "w_binary"),
        lambda: sources.fill_by_tenant(bench.a.uri, "w_by_tenant"),
        *[
            lambda name=name: sources.fill_small(bench.a.uri, name, rows=40, database="w_mix")
            for _, name in SOURCES[4:]
        ],
        lambda: sources.fill_small(bench.b.uri, "w_stirred_2023", rows=20, deleted=0),
    ]
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()
    for database, name in SOURCES:
        with connected(bench.a.uri, database) as client:
            client.flush(name)
            wait_until_indexed(client, name)
    with connected(bench.b.uri) as client:
        client.create_alias("w_stirred_2023", "w_stirred_live")


def alias_of(bench: Bench) -> str:
    """Whose `w_stirred_live` is."""
    with connected(bench.b.uri) as client:
        return str(client.describe_alias("w_stirred_live")["collection_name"])


@pytest.fixture(scope="module")
def story(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Planned, refused without consent, applied, looked at, and rolled back."""
    shell = Shell(tmp_path_factory.mktemp("words"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write("plan.yaml", PLAN.format(clusters=bench.clusters_file))
    head = f"version: 1\nname: refused\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\ncollections:\n"
    for name, (mapping, _, _) in REFUSED.items():
        shell.write(f"{name}.yaml", f"{head}  - {mapping}\n")
    fill(bench)
    before = collections_of(bench.b.uri)
    files = bench.bucket_keys("files_A/")
    staged: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    answers = shell.run_all({name: (11, ("plan", f"{name}.yaml")) for name in REFUSED})

    def run(name: str, *arguments: str, code: int = 0) -> None:
        answers[name] = shell.run(*arguments, code=code)
        staged[name] = sorted([*bench.bucket_keys("backup/passing/"), *bench.bucket_keys(".migrator/dumps/")])
        aliases[name] = alias_of(bench)

    run("plan", "plan", "plan.yaml", "-v")
    run("without consent", "apply", "plan.yaml", "--yes", code=2)
    run("apply", "apply", "plan.yaml", "--yes", "--allow-alias-move")
    files_after = bench.bucket_keys("files_A/")
    run("again", "apply", "plan.yaml", "--yes")
    run("verify", "verify", "plan.yaml", "--only", "w_stirred")
    with ThreadPoolExecutor(4) as pool:
        left = {name: pool.submit(portray, bench.a.uri, name, place) for place, name in SOURCES}
        right = {name: pool.submit(portray, bench.b.uri, there[1], there[0]) for name, there in TARGETS.items()}
        portraits = [{name: job.result() for name, job in side.items()} for side in (left, right)]
    run("rollback", "rollback", answers["apply"].out.split("Run ")[1].split()[0].rstrip(":,."), "--yes")
    return Story(
        answers=answers,
        files=(files, files_after),
        staged=staged,
        left=portraits[0],
        right=portraits[1],
        aliases=aliases,
        in_the_end=(before, collections_of(bench.b.uri)),
    )


def test_the_source_is_as_its_user_left_it(story: Story) -> None:
    before, after = story.files
    assert before
    assert after == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_said_before_anything_is_done(name: str, story: Story) -> None:
    _, field, said = REFUSED[name]
    assert field in story.answers[name].err
    assert said in story.answers[name].err


def test_the_plan_says_what_is_changed_and_what_stays_behind(story: Story) -> None:
    told = story.answers["plan"].out
    for line in (
        "~ w_stirred: alias w_stirred_live: moved from w_stirred_2023",
        "~ w_stirred: index HNSW COSINE on vector → AUTOINDEX COSINE",
        "~ w_tuned: index STL_SORT on year: not built",
        "~ not carried (w_stirred): partition south: not among partitions",
        "note (w_tuned): collection.ttl.seconds=864000 counts anew from the import",
        "passing/ (deleted once everything is verified)",
        "users, roles and grants do not come along",
    ):
        assert line in told


def test_an_alias_of_others_is_not_moved_without_a_word(story: Story) -> None:
    refusal = story.answers["without consent"].err
    assert "w_stirred_live" in refusal
    assert "--allow-alias-move" in refusal
    assert story.aliases["without consent"] == "w_stirred_2023"
    assert story.staged["without consent"] == []


def test_only_the_chosen_partitions_are_there(story: Story) -> None:
    left, right = story.left["w_stirred"], story.right["w_stirred"]
    assert right.partitions == {
        "_default": frozenset(),
        "north": left.partitions["north"],
        "nobody": left.partitions["nobody"],
    }
    assert right.rows == {key: left.rows[key] for key in left.partitions["north"]}
    assert "equal: " in story.answers["verify"].out


def test_aliases_are_moved_given_and_left(story: Story) -> None:
    assert story.aliases["apply"] == "w_stirred_2024"
    assert story.right["w_stirred"].aliases == {"w_stirred_live", "w_stirred_second"}
    assert story.right["w_tuned"].aliases == {"w_tuned_live", "w_words"}
    assert story.right["w_binary"].aliases == frozenset()


def test_indexes_are_those_of_the_plan(story: Story) -> None:
    assert story.right["w_stirred"].indexes["vector"]["index_type"] == "AUTOINDEX"
    assert story.right["w_stirred"].indexes["vector"]["metric_type"] == "COSINE"
    assert story.right["w_binary"].indexes["bits"]["index_type"] == "AUTOINDEX"
    tuned = story.right["w_tuned"].indexes
    assert tuned.keys() == {"by_sense", "word"}
    assert (tuned["by_sense"]["index_type"], tuned["by_sense"]["params"]) == ("IVF_SQ8", {"nlist": 16})
    assert tuned["word"]["index_type"] == "Trie"
    assert story.right["w_by_tenant"].indexes == {}


def test_what_has_no_index_is_not_loaded(story: Story) -> None:
    assert {name for name, portrait in story.right.items() if not portrait.is_loaded} == {"w_by_tenant"}


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "w_stirred"])
def test_rows_are_the_same_under_whatever_name(name: str, story: Story) -> None:
    left, right = story.left[name], story.right[name]
    assert right.rows == left.rows
    assert right.partitions == left.partitions
    assert right.description == left.description


def test_the_dump_is_gone_and_the_run_is_done(story: Story) -> None:
    assert story.staged["apply"] == []
    assert "nothing to do" in story.answers["again"].out.lower()
    assert "run " in story.answers["apply"].out.lower()


def test_a_rollback_gives_the_alias_back_and_leaves_nothing(story: Story) -> None:
    before, after = story.in_the_end
    assert after == before
    assert story.aliases["rollback"] == "w_stirred_2023"
    assert "goes back to w_stirred_2023" in story.answers["rollback"].out
