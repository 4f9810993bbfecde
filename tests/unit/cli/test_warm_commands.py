"""Commands of tests that are forked from a warm process do what a shell's do."""

from __future__ import annotations

import signal
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.cli import Shell

if TYPE_CHECKING:
    from pathlib import Path

STORE = "{provider: minio, endpoint: 'http://127.0.0.1:9', bucket: abc, credentials: {type: none}, root_path: %s}"
PLAN = f"""\
version: 1
name: alike
source: {{milvus: {{uri: "http://127.0.0.1:9", username: ada, password: {{env: WORD}}}}, storage: {STORE % "files_A"}}}
target: {{milvus: {{uri: "http://127.0.0.1:9"}}, storage: {STORE % "files_B"}}}
collections: [coll]
"""


def test_they_answer_alike(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"WORD": "a word", "COLUMNS": "70"})
    shell.write("plan.yaml", PLAN)
    cold = replace(shell, is_warm=False)
    for command, without in (
        (("--version",), ""),
        (("validate", "plan.yaml"), ""),
        (("plan", "plan.yaml"), ""),
        (("plan", "plan.yaml"), "WORD"),
        (("apply", "no.yaml", "--nothing"), ""),
    ):
        assert shell.start(*command, without=without).finish() == cold.start(*command, without=without).finish()


def test_a_signal_ends_one_and_no_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        shell = Shell(tmp_path, {"WORD": "a word"})
        shell.write("plan.yaml", PLAN.replace("127.0.0.1:9", f"127.0.0.1:{silent.getsockname()[1]}"))
        running = [shell.start("plan", "plan.yaml") for _ in range(2)]
        with silent.accept()[0], silent.accept()[0]:
            assert running[0].send(signal.SIGKILL).code == -signal.SIGKILL
            assert running[1].process.poll() is None
            assert running[1].send(signal.SIGKILL).code == -signal.SIGKILL
    assert shell.run("--version").out
