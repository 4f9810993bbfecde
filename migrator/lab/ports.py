"""Loopback ports for servers that cannot choose their own."""

from __future__ import annotations

import errno
import secrets
import socket
from pathlib import Path

from migrator.lab.errors import LabError

_LOWEST = 10_000
_BLOCK = 16
_TRIES = 500


def free_block(count: int) -> int:
    """Return the first of `count` (at most 16) free neighbouring ports below the ephemeral range.

    Below it no outgoing connection can take one while its server is down. Blocks are aligned and drawn at
    random, so that two labs starting in the same second rarely meet; where they do, a server dies and is
    started on others.

    Raises:
        LabError: No free block in hundreds of tries.
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    if highest - _LOWEST < 100 * _BLOCK:  # a machine that made nearly everything ephemeral
        highest = 65_536
    blocks = (highest - _LOWEST) // _BLOCK
    for _ in range(_TRIES):
        first = _LOWEST + _BLOCK * secrets.randbelow(blocks)
        if all(_is_free(first + offset) for offset in range(count)):
            return first
    raise LabError(f"no {count} free neighbouring ports between {_LOWEST} and {highest}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - never listens; Milvus listens on every address, so all must be free
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True
