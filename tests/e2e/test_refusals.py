"""What is wrong with a plan file or with the world: told before anything is written, by the field to change."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from migrator.lab import Lab
from tests.support import sources
from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import collections_of, connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench

SOURCE = "refused_one"
SECOND = "refused_two"
TAKEN = "refused_taken"
ALIAS = "refused_alias"


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Two collections at the source; at the target a taken name and an alias."""
    with ThreadPoolExecutor() as pool:
        for name in (SOURCE, SECOND):
            pool.submit(sources.fill_small, bench.a.uri, name, rows=20, deleted=0)
        pool.submit(sources.fill_empty, bench.b.uri, TAKEN).result()
    with connected(bench.b.uri) as client:
        client.create_alias(TAKEN, ALIAS)
    return bench


@pytest.fixture
def shell(filled: Bench, tmp_path: Path) -> Shell:
    """A folder with a copy of the clusters file, free to be spoilt."""
    shell = Shell(tmp_path, filled.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write("clusters.yaml", filled.clusters_file.read_text(encoding="utf-8"))
    return shell


def write_plan(shell: Shell, collections: str = f"[{SOURCE}]", *, extra: str = "", **staging: str) -> None:
    """A plan from `a` to `b`."""
    place = {"root_path": "backup", "backup_name": "refused"} | staging
    shell.write(
        "plan.yaml",
        "version: 1\nname: refused\nclusters: clusters.yaml\nsource: a\ntarget: b\n"
        f"staging: {{root_path: {place['root_path']}, backup_name: {place['backup_name']}}}\n"
        f"{extra}collections: {collections}\n",
    )


def spoil(shell: Shell, cluster: str, section: str, **values: str) -> None:
    """Change a cluster's settings."""
    path = shell.folder / "clusters.yaml"
    yaml = YAML()
    clusters = yaml.load(path)
    clusters[cluster][section].update(values)
    yaml.dump(clusters, path)


def refuse(shell: Shell, code: int, *named: str) -> Answer:
    """The plan is not begun, and what is to be changed is said, with a hint."""
    answer = shell.run("apply", "plan.yaml", "--yes", code=code)
    for name in named:
        assert name in answer.err, answer.err
    assert "hint: " in answer.err
    assert not (shell.folder / ".migrator" / "runs").exists()
    return answer


def nobody_listens() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_sound_plan_is_planned(shell: Shell) -> None:
    write_plan(shell)

    shell.run("plan", "plan.yaml", "--detailed-exitcode", code=3)


# -- the way to a server ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cluster", "side"), [("a", "source"), ("b", "target")])
def test_a_port_nobody_listens_at(shell: Shell, cluster: str, side: str) -> None:
    write_plan(shell)
    port = nobody_listens()
    spoil(shell, cluster, "milvus", uri=f"http://127.0.0.1:{port}")

    refuse(shell, 30, f"{side}.milvus.uri", str(port))


def test_a_host_that_does_not_exist(shell: Shell) -> None:
    write_plan(shell)
    spoil(shell, "b", "milvus", uri="http://milvus.invalid:19530")

    refuse(shell, 30, "target.milvus.uri", "milvus.invalid")


def test_a_port_where_something_else_answers(shell: Shell, filled: Bench) -> None:
    write_plan(shell)
    spoil(shell, "a", "milvus", uri=filled.state.s3_endpoint)

    refuse(shell, 30, "source.milvus.uri", filled.state.s3_endpoint.removeprefix("http://"))


def test_a_milvus_in_place_of_the_store(shell: Shell, filled: Bench) -> None:
    write_plan(shell)
    spoil(shell, "a", "storage", endpoint=filled.a.uri)

    refuse(shell, 40, "source.storage.endpoint")


def test_a_store_nobody_serves(shell: Shell) -> None:
    write_plan(shell)
    port = nobody_listens()
    spoil(shell, "a", "storage", endpoint=f"http://127.0.0.1:{port}")

    refuse(shell, 40, "source.storage.endpoint", str(port))


@pytest.mark.parametrize(("cluster", "side"), [("a", "source"), ("b", "target")])
def test_a_bucket_that_is_not_there(shell: Shell, cluster: str, side: str) -> None:
    write_plan(shell)
    spoil(shell, cluster, "storage", bucket="bucket_of_nobody")

    refuse(shell, 40, f"{side}.storage.bucket", "bucket_of_nobody")


@pytest.mark.parametrize("root_path", ["file", "files"])
def test_a_wrong_root_path_of_the_source(shell: Shell, root_path: str) -> None:
    write_plan(shell)
    spoil(shell, "a", "storage", root_path=root_path)

    answer = refuse(shell, 11, "source.storage.root_path", f"(got {root_path})", "files_A")

    assert "clusters.yaml:" in answer.err


def test_a_wrong_root_path_of_the_target_is_the_sources(shell: Shell) -> None:
    write_plan(shell)
    spoil(shell, "b", "storage", root_path="files_A")

    answer = shell.run("plan", "plan.yaml", code=10)

    assert "root_path" in answer.err


def test_a_variable_that_is_not_set(shell: Shell) -> None:
    write_plan(shell)

    for command in (("apply", "plan.yaml", "--yes"), ("verify", "plan.yaml")):
        answer = shell.run(*command, code=40, without="S3_SECRET_ACCESS_KEY")
        assert "source.storage.credentials.secret_access_key" in answer.err
        assert "S3_SECRET_ACCESS_KEY" in answer.err
    shell.run("validate", "plan.yaml", without="S3_SECRET_ACCESS_KEY")


# -- collections ------------------------------------------------------------------------------------------------------


def test_a_target_that_exists(shell: Shell) -> None:
    write_plan(shell, f"[{{source: {SOURCE}, target: {TAKEN}}}]")

    refuse(shell, 11, "collections[0].target", TAKEN, "plan.yaml:7:")


def test_a_target_that_is_an_alias(shell: Shell) -> None:
    write_plan(shell, f"[{{source: {SOURCE}, target: {ALIAS}}}]")

    refuse(shell, 11, "collections[0].target", ALIAS, "is an alias")


def test_a_target_that_exists_may_be_skipped(shell: Shell) -> None:
    write_plan(shell, f"[{{source: {SOURCE}, target: {TAKEN}, if_exists: skip}}]")

    answer = shell.run("apply", "plan.yaml", "--yes")

    assert f"= {SOURCE} → {TAKEN}" in answer.out


def test_a_source_that_is_not_there(shell: Shell) -> None:
    write_plan(shell, f"[refused_nothing, {SOURCE}]")

    refuse(shell, 11, "collections[0].source", "refused_nothing", SOURCE)


@pytest.mark.parametrize("pattern", ["nothing_like_*", "no_such_db.*", "no_such_db.coll"])
def test_a_pattern_that_matches_nothing(shell: Shell, pattern: str) -> None:
    write_plan(shell, f'["{pattern}"]')

    refuse(shell, 11, "collections[0].source", pattern)


def test_names_that_collide_after_expansion(shell: Shell) -> None:
    write_plan(shell, '[{source: "refused_*", target: refused_all}]')

    refuse(shell, 11, "collections[0].target", SOURCE, SECOND, "refused_all")


def test_a_source_that_two_patterns_select(shell: Shell) -> None:
    write_plan(shell, '[{source: "refused_o*"}, {source: "refused_*e", target: "{{ collection }}_x"}]')

    refuse(shell, 11, "collections[1].source", SOURCE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_collection_mapped_onto_itself(shell: Shell, filled: Bench, host: str) -> None:
    """One Milvus on both sides, by whatever names it goes."""
    write_plan(shell)
    one_milvus_twice(shell, filled, host)

    answer = shell.start("apply", "plan.yaml", "--yes").finish()

    assert answer.code in {10, 11}
    assert "collections[0]" in answer.err
    assert "onto itself" in answer.err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_clone_inside_one_milvus_is_planned(shell: Shell, filled: Bench, host: str) -> None:
    write_plan(shell, f"[{{source: {SOURCE}, target: refused_clone}}]")
    one_milvus_twice(shell, filled, host)

    shell.run("plan", "plan.yaml", "--detailed-exitcode", code=3)


def one_milvus_twice(shell: Shell, filled: Bench, host: str) -> None:
    """The target is the source, by another host name perhaps."""
    clusters = (shell.folder / "clusters.yaml").read_text(encoding="utf-8").replace("files_B", "files_A")
    shell.write("clusters.yaml", clusters)
    spoil(shell, "b", "milvus", uri=filled.a.uri.replace("127.0.0.1", host))
    spoil(shell, "b", "storage", endpoint=filled.state.s3_endpoint.replace("127.0.0.1", host))


# -- staging ----------------------------------------------------------------------------------------------------------


def test_a_dump_where_something_lies_already(shell: Shell, filled: Bench) -> None:
    write_plan(shell, backup_name="of_somebody_else")
    key = "backup/of_somebody_else/meta/backup_meta.json"
    filled.write_object(key, b"{}")
    before = filled.bucket_keys("backup/of_somebody_else")

    refuse(shell, 11, "staging.backup_name", key, "(got of_somebody_else)")

    assert filled.bucket_keys("backup/of_somebody_else") == before
    filled.delete_object(key)


def test_a_dump_inside_the_source_seen_under_another_address(shell: Shell, filled: Bench) -> None:
    """Whether the file gives it away or the bucket."""
    write_plan(shell, root_path="files_A/backup")
    spoil(shell, "b", "storage", endpoint=filled.state.s3_endpoint.replace("127.0.0.1", "localhost"))

    answer = shell.start("plan", "plan.yaml").finish()

    assert answer.code in {10, 11}
    assert "staging.root_path" in answer.err


# -- commands ---------------------------------------------------------------------------------------------------------


def test_wrong_command_lines(shell: Shell) -> None:
    write_plan(shell)

    for arguments in (
        ("apply",),
        ("apply", "plan.yaml"),
        ("plan", "plan.yaml", "--nonsense"),
        ("plan", "plan.yaml", "--var", "suffix"),
    ):
        shell.run(*arguments, code=2)


def test_a_plan_file_that_is_not_there(shell: Shell) -> None:
    answer = shell.run("plan", "no_such_plan.yaml", code=10)

    assert "no_such_plan.yaml" in answer.err


def test_only_has_to_match_something(shell: Shell) -> None:
    write_plan(shell)

    answer = shell.run("plan", "plan.yaml", "--only", "other_*", code=11)

    assert "--only other_*" in answer.err
    assert SOURCE in answer.err


def test_a_run_that_is_not_there(shell: Shell) -> None:
    assert "no runs" in shell.run("status").out
    assert "no run" in shell.run("status", "nonsense", code=2).err


def test_an_only_of_a_clean_world_left_no_trace(shell: Shell, filled: Bench) -> None:
    """None of these plans may have made anything at the target."""
    write_plan(shell)
    shell.run("plan", "plan.yaml")

    there = " ".join(collections_of(filled.b.uri)["default"])
    assert SOURCE not in there
    assert "refused_clone" not in there


# -- passwords --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, filled: Bench) -> Iterator[tuple[Shell, Lab]]:
    """A source that asks for a password, and plans from it to the second server."""
    lab = Lab(tmp_path_factory.mktemp("guarded"))
    state = lab.up(instances=1, authorization=True, auto_compaction=False)
    try:
        with connected(state.instances[0].uri, token=state.token) as client:
            client.create_collection("guarded", dimension=4)
        shell = Shell(tmp_path_factory.mktemp("guarded_shell"), {**filled.environment, **state.environment})
        yaml = YAML()
        clusters = yaml.load(filled.clusters_file)
        clusters["a"] = yaml.load(lab.clusters_file)["a"]
        with (shell.folder / "clusters.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(clusters, file)
        write_plan(shell, "[guarded]", backup_name="guarded")
        yield shell, lab
    finally:
        lab.down()


def test_the_right_password(guarded: tuple[Shell, Lab]) -> None:
    shell, _ = guarded

    shell.run("plan", "plan.yaml", "--detailed-exitcode", code=3)


def test_a_wrong_password(guarded: tuple[Shell, Lab]) -> None:
    shell, _ = guarded

    for command in (("apply", "plan.yaml", "--yes"), ("verify", "plan.yaml")):
        answer = shell.run(*command, code=30, MILVUS_PASSWORD=SECRET)
        assert "source.milvus" in answer.err
        assert "password" in answer.err
    checked = shell.run("check", "plan.yaml", "--canary", code=30, MILVUS_PASSWORD=SECRET)
    assert "✗ source.milvus.password: " in checked.out
    assert "the target imported 1 row" in checked.out


def test_a_password_that_is_not_set(guarded: tuple[Shell, Lab]) -> None:
    shell, _ = guarded

    answer = shell.run("plan", "plan.yaml", code=30, without="MILVUS_PASSWORD")

    assert "source.milvus.password" in answer.err
    assert "MILVUS_PASSWORD" in answer.err


def test_no_user_at_all(guarded: tuple[Shell, Lab]) -> None:
    shell, _ = guarded
    yaml = YAML()
    clusters = yaml.load(shell.folder / "clusters.yaml")
    for name in ("username", "password"):
        del clusters["a"]["milvus"][name]
    with (shell.folder / "anonymous.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(clusters, file)

    answer = shell.run("check", "plan.yaml", "--clusters", "anonymous.yaml", code=30)

    assert "✗ source.milvus.username: " in answer.out
