"""The program as a user runs it: a process of its own in a folder of its own, watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.warm import WARM, Command

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence

SECRET = "no-eyes-for-this-4711"  # noqa: S105 - the lab's S3 server accepts any, so that this one can be told apart
REPOSITORY = Path(__file__).parents[2]
_WITHIN_S = 420.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All it printed."""
        return self.out + self.err

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(slots=True)
class Running:
    """A command under way."""

    process: subprocess.Popen[str] | Command
    _out: list[str] = field(default_factory=list)
    _err: list[str] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)
    _heard: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        """Read both pipes from now on."""
        for stream, lines in ((self.process.stdout, self._out), (self.process.stderr, self._err)):
            reader = threading.Thread(target=self._listen, args=(stream, lines), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _listen(self, stream: Any, lines: list[str]) -> None:  # noqa: ANN401 - a pipe
        with stream:
            for line in stream:
                with self._heard:
                    lines.append(line)
                    self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def wait_for(self, is_it: Callable[[str], bool], within_s: float = 120) -> str:
        """Return the first line of its output that `is_it` accepts."""

        def found() -> str | None:
            return next((line for line in self._out if is_it(line)), None)

        with self._heard:
            self._heard.wait_for(lambda: found() is not None or not self._is_reading(), within_s)
            line = found()
        assert line is not None, f"it never said so: {''.join(self._out)}{''.join(self._err)}"
        return line

    def _is_reading(self) -> bool:
        return self._readers[0].is_alive()

    def wait_for_event(self, event: str, step: str = "") -> dict[str, Any]:
        """Return the first such event of `apply --format json`; `step` is the beginning of a step's key."""

        def is_it(line: str) -> bool:
            entry = json.loads(line)
            return bool(entry["event"] == event and entry.get("step", "").startswith(step))

        entry: dict[str, Any] = json.loads(self.wait_for(is_it))
        return entry

    def send(self, number: signal.Signals) -> Answer:
        """Send it a signal and wait for its end."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self, within_s: float = _WITHIN_S) -> Answer:
        """Wait for its end."""
        try:
            code = self.process.wait(within_s)
        finally:
            self.process.kill()
        for reader in self._readers:
            reader.join(10)
        return _checked(Answer(code, "".join(self._out), "".join(self._err)))


@dataclass(frozen=True, slots=True)
class Shell:
    """A working directory with plan files and a state directory, and the variables the clusters file needs."""

    folder: Path
    environment: Mapping[str, str]
    canary: bool = False
    """Whether `apply` proves the way first: it takes seconds, and tests of its own see to it."""
    is_warm: bool = True
    """Whether imports are done before a command starts; without, it is what a shell starts."""

    def write(self, name: str, text: str) -> Path:
        """Write a file of the working directory."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments: str, without: str = "", program: str = "migrator", **variables: str) -> Running:
        """Run `migrator`, or a `program` around it, and do not wait; `without` is a variable to unset."""
        if arguments[:1] == ("apply",) and not self.canary:
            arguments = (*arguments, "--no-canary")
        environment = {**_CLEAN, **self.environment, **variables}
        environment.pop(without, None)
        if self.is_warm and program in WARM:
            command = Command(program, arguments, self.folder, environment)
            command.stdin.close()
            return Running(command)
        return Running(
            subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-m", program, *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        )

    def run(self, *arguments: str, code: int = 0, without: str = "", **variables: str) -> Answer:
        """Run `migrator` to its end, which has to be `code`."""
        answer = self.start(*arguments, without=without, **variables).finish()
        assert answer.code == code, f"exit {answer.code}, not {code}:\n{answer.text}"
        return answer

    def run_all(self, commands: Mapping[str, tuple[int, Sequence[str]]]) -> dict[str, Answer]:
        """Run commands that do not mind one another side by side, each to its end and its exit code."""
        with ThreadPoolExecutor(4) as pool:
            jobs = {name: pool.submit(self.run, *arguments, code=code) for name, (code, arguments) in commands.items()}
            return {name: job.result() for name, job in jobs.items()}

    def files(self) -> dict[str, bytes]:
        """All files of the working directory."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


_CLEAN = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("MIGRATOR_", "S3_", "AWS_"))},
    "PYTHONPATH": str(REPOSITORY),
    "PYTHONUTF8": "1",
}


def _checked(answer: Answer) -> Answer:
    """Whatever happened, no traceback and no secret."""
    assert "Traceback" not in answer.text, answer.text
    assert SECRET not in answer.text
    return answer
