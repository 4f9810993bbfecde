"""The lab itself: what other tests stand on."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from migrator.lab import Lab, LabError, LabState, LabUnavailable, PortTaken, ServerDied
from migrator.lab.dataset import PARTITIONS, all_rows, count, fill_demo, sample_rows, search
from migrator.lab.process import Process
from migrator.lab.wheel import MILVUS_VERSION, require_lab
from tests.support.bench import skip_unless_possible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.lab.dataset import DemoSummary
    from tests.support.bench import Bench


@pytest.fixture(autouse=True)
def _possible() -> None:
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab of a test's own, not started yet."""
    lab = Lab(tmp_path / "lab")
    yield lab
    if (lab.folder / "lab.json").exists():
        lab.down()


def fake_server(cache: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in the place of the Milvus server."""
    program = cache / f"milvus-{MILVUS_VERSION}" / "milvus"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("MIGRATOR_LAB_CACHE", str(cache))


def test_every_server_answers_on_loopback(bench: Bench) -> None:
    assert [status.state for status in bench.lab.status()] == ["serving", "serving", "serving"]
    for server in bench.state.servers:
        with socket.create_connection(("127.0.0.1", server.first_port), timeout=5):
            pass


def test_a_second_up_finds_the_same_servers_at_once(bench: Bench) -> None:
    said: list[str] = []

    state = Lab(bench.lab.folder, say=said.append).up(auto_compaction=False)

    assert state == bench.state
    assert "up already" in said[0]


def test_a_second_up_with_other_settings_is_refused(bench: Bench) -> None:
    with pytest.raises(LabError, match="instances is 2, not 3") as caught:
        bench.lab.up(instances=3, auto_compaction=False)

    assert "down" in caught.value.hint


def test_clusters_file_and_environment_lead_to_the_servers(bench: Bench) -> None:
    clusters = YAML(typ="safe").load(bench.clusters_file)
    sourced = subprocess.run(  # noqa: S603 - a file this very test had written
        ["/bin/sh", "-c", f". {bench.lab.environment_file}; echo $S3_ACCESS_KEY_ID"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert list(clusters) == ["a", "b"]
    assert clusters["b"]["milvus"] == {"uri": bench.b.uri}
    assert clusters["b"]["storage"] == {
        "provider": "minio",
        "endpoint": bench.state.s3_endpoint,
        "bucket": "bucket_A",
        "root_path": "files_B",
        "credentials": {
            "type": "static",
            "access_key_id": {"env": "S3_ACCESS_KEY_ID"},
            "secret_access_key": {"env": "S3_SECRET_ACCESS_KEY"},
        },
    }
    assert sourced.stdout.strip() == bench.environment["S3_ACCESS_KEY_ID"]


@pytest.fixture(scope="module")
def demo(bench: Bench) -> DemoSummary:
    """A small demo collection on the first server."""
    return fill_demo(bench.a.uri, "books", rows=3_000)


def test_fill_demo_leaves_what_it_says(bench: Bench, demo: DemoSummary) -> None:
    rows = all_rows(bench.a.uri, demo.alias)

    assert len(rows) == demo.rows == count(bench.a.uri, "books") == 3_000 - len(demo.deleted)
    assert not rows.keys() & set(demo.deleted)
    assert {pk for pk, row in rows.items() if row["title"].endswith("(2nd ed.)")} == set(demo.upserted)
    assert {len(row["embedding"]) for row in rows.values()} == {128}
    assert rows[1]["shelf"] == "H1"
    assert rows[1]["rating"] == 0.1
    assert "rating" not in rows[2]
    assert all_rows(bench.a.uri, "books", partitions=PARTITIONS[:1]).keys() == {pk for pk in rows if pk % 3 == 0}
    assert any("/insert_log/" in key for key in bench.bucket_keys("files_A/"))
    folders = {key.split("/", maxsplit=1)[0] for key in bench.bucket_keys()}  # other tests use the bucket too
    assert {"files_A"} <= folders <= {"files_A", "files_B", "backup", ".migrator"}


def test_fill_demo_is_the_same_each_time(bench: Bench, demo: DemoSummary) -> None:
    assert fill_demo(bench.b.uri, "books", rows=3_000) == demo
    assert all_rows(bench.b.uri, "books") == all_rows(bench.a.uri, "books")


def test_demo_helpers_read_rows_and_neighbours(bench: Bench, demo: DemoSummary) -> None:
    rows = sample_rows(bench.a.uri, "books", [5, 3, demo.deleted[0]])
    nearest = search(bench.a.uri, "books", rows[1]["embedding"], limit=3)

    assert [row["id"] for row in rows] == [3, 5]
    assert nearest[0]["id"] == 5
    assert nearest[0]["score"] == pytest.approx(1, abs=1e-5)
    assert len(nearest) == 3


def test_a_killed_server_comes_back_with_its_rows(lab: Lab) -> None:
    uri = lab.up(instances=1, auto_compaction=False).instances[0].uri
    summary = fill_demo(uri, rows=600)
    lab.kill("milvus_A")

    assert [status.state for status in lab.status()] == ["serving", "stopped"]
    with pytest.raises(LabError, match="partly dead: milvus_A"):
        lab.up(instances=1, auto_compaction=False)

    server = lab.start("milvus_A")

    assert server.address == uri
    assert count(uri, "coll_live") == summary.rows


def test_a_paused_server_hangs_and_wakes_up(bench: Bench) -> None:
    bench.lab.kill("moto", signal.SIGSTOP)
    try:
        assert bench.lab.status()[0].state == "not answering"
    finally:
        bench.lab.kill("moto", signal.SIGCONT)

    assert bench.lab.status()[0].state == "serving"


def test_down_stops_what_the_lab_started_and_the_next_up_starts_from_nothing(bench: Bench, lab: Lab) -> None:
    first = lab.up(instances=1)

    assert lab.down() == ("moto", "milvus_A")

    assert not any(server.is_alive for server in first.servers)
    assert all(server.is_alive for server in bench.state.servers)
    assert {status.state for status in lab.status()} == {"stopped"}
    assert lab.down() == ()

    said: list[str] = []
    second = Lab(lab.folder, say=said.append).up(instances=1)

    assert second.instances[0].is_alive
    assert "wiped" in said[0]


def test_servers_outlive_the_program_that_started_them(lab: Lab) -> None:
    program = f"from migrator.lab import Lab; Lab({str(lab.folder)!r}).up(instances=1, authorization=True)"
    subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )

    state = lab.state()

    assert [status.state for status in lab.status()] == ["serving", "serving"]
    assert fill_demo(state.instances[0].uri, rows=30, token=state.token).rows == 29
    assert "MILVUS_PASSWORD" in lab.environment_file.read_text(encoding="utf-8")


def test_instances_on_local_storage_need_no_store(lab: Lab) -> None:
    state = lab.up(instances=1, storage="local")

    fill_demo(state.instances[0].uri, rows=600)

    cluster = YAML(typ="safe").load(lab.clusters_file)["a"]
    assert state.store is None
    assert cluster["storage"] == {"provider": "local", "root_path": state.instances[0].root_path}
    assert list((lab.folder / "servers" / "milvus_A" / "data" / "insert_log").iterdir())


def test_a_recycled_pid_is_left_alone(lab: Lab) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        lab.folder.mkdir()
        state = LabState.model_validate(
            {
                "settings": {"instances": 1},
                "store": {
                    "name": "moto",
                    "first_port": 1,
                    "process": {"pid": stranger.pid, "start_ticks": 1, "boot_id": "another"},
                },
            }
        )
        (lab.folder / "lab.json").write_text(state.model_dump_json(), encoding="utf-8")

        assert lab.status()[0].state == "stopped"
        assert lab.down() == ()
        assert stranger.poll() is None
        stranger.terminate()


def test_an_up_that_fails_says_why_and_stops_what_it_started(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server(tmp_path / "cache", monkeypatch, "echo no luck today; exit 1")

    with pytest.raises(ServerDied, match="no luck today"):
        lab.up()

    assert lab.state().store is not None
    assert not any(server.is_alive for server in lab.state().servers)


def test_a_server_that_meets_a_taken_port_gets_others(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_server(
        tmp_path / "cache",
        monkeypatch,
        f'echo $METRICS_PORT >> {tmp_path}/tried; echo "bind: address already in use"; exit 1',
    )

    with pytest.raises(PortTaken):
        lab.up(instances=1, storage="local")

    tried = (tmp_path / "tried").read_text(encoding="utf-8").split()
    assert len(tried) == len(set(tried)) == 5


def test_a_folder_of_somebody_else_is_not_wiped(lab: Lab) -> None:
    precious = lab.folder / "servers" / "precious"
    precious.mkdir(parents=True)

    with pytest.raises(LabError, match=r"no lab\.json beside it"):
        lab.up()

    assert precious.exists()


@pytest.mark.parametrize("verb", ["down", "status", "state"])
def test_without_a_lab_every_verb_says_so_and_touches_nothing(lab: Lab, verb: str) -> None:
    with pytest.raises(LabError, match="there is no lab"):
        getattr(lab, verb)()

    assert not lab.folder.exists()


def test_another_platform_is_told_what_to_do_instead(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")

    with pytest.raises(LabUnavailable, match="linux x86_64 only") as caught:
        lab.up()

    assert "Docker" in caught.value.hint


def test_a_missing_extra_is_told_by_name(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.lab.wheel._version", lambda name: None if name == "flask" else MILVUS_VERSION)

    with pytest.raises(LabUnavailable, match="not installed: flask") as caught:
        lab.up()

    assert "pip install 'migrator[lab]'" in caught.value.hint


def test_a_process_is_known_by_more_than_its_pid() -> None:
    boot_id = "3f0e"

    assert not Process(pid=os.getpid(), start_ticks=1, boot_id=boot_id).is_alive()
