"""Ctrl-C while a request hangs: the second one ends the process at once."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

from tests.support.cli import Shell

if TYPE_CHECKING:
    from pathlib import Path

PLAN = """\
version: 1
name: hangs
source: {{milvus: {{uri: "http://127.0.0.1:9"}}, storage: {{provider: minio, endpoint: "http://127.0.0.1:{port}",
  bucket: bucket-a, root_path: files_A, credentials: {{type: none}}}}}}
target: {{milvus: {{uri: "http://127.0.0.1:10"}}, storage: {{provider: minio, endpoint: "http://127.0.0.1:{port}",
  bucket: bucket-a, root_path: files_B, credentials: {{type: none}}}}}}
options: {{state: staging}}
collections: [coll]
"""


def test_a_second_signal_ends_a_process_that_waits_for_a_store_that_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        shell = Shell(tmp_path, {})
        shell.write("plan.yaml", PLAN.format(port=silent.getsockname()[1]))
        running = shell.start("plan", "plan.yaml")
        connection, _ = silent.accept()
        with connection:
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)  # two signals at the same moment may be one
            running.process.send_signal(signal.SIGTERM)
            answer = running.finish(within_s=5)
    assert answer.code == 130
