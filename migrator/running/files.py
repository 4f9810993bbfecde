"""Writing files that are whole or not there."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_whole(path: Path, text: str | Iterable[str], *, is_durable: bool = True) -> None:
    """Write beside, sync, and rename; for the owner's eyes only. Without the sync it is cheap, and may be lost.

    A long text may come in pieces.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines([text] if isinstance(text, str) else text)
        file.flush()
        if is_durable:
            os.fsync(file.fileno())
    beside.replace(path)
    if not is_durable:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
