"""Shell completion: for the shell that is named, wherever it is asked from."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("shell", "said"),
    [("bash", "complete -o"), ("zsh", "#compdef migrator"), ("fish", "complete --command migrator")],
)
def test_a_named_shell_has_its_own(shell: str, said: str) -> None:
    command = [sys.executable, "-m", "migrator", "--show-completion", shell]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - this program
    assert said in answer.stdout
