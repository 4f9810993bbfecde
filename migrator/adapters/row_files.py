"""Temporary databases on disk, for what may be too much for memory."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone at the end."""
    with room_in(Path(tempfile.gettempdir())):
        made = tempfile.TemporaryDirectory(prefix="migrator-rows-")
    with made as name:
        yield Path(name)


def temporary_database(folder: Path, tables: str) -> sqlite3.Connection:
    """A database with those tables, for several threads: whoever compares may ask both sides at once."""
    with room_in(folder):
        database = sqlite3.connect(folder / "rows.db", check_same_thread=False)
        database.executescript(tables)
        return database


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """What a full disk says, in a sentence."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise RunError(
            f"the keys of a dump cannot be gathered in {folder}: {error}",
            hint="make room there, or set TMPDIR to a folder that has it",
        ) from error
