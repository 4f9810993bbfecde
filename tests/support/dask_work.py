"""What workers of a Dask cluster do in tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

VERSION = "TESTED_VERSION"


def version() -> str:
    """As this process's environment has it."""
    return os.environ.get(VERSION, "1")


def answer(text: str) -> str:
    """The text in capitals; of a folder, the process that was at it last, once there are two."""
    folder = Path(text)
    if not folder.is_dir():
        return text.upper()
    (folder / f"{os.getpid()}").touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.05)
    return f"{os.getpid()}"
