"""The management port of a Milvus: its garbage collection, paused for a while.

The port knows no login (Milvus 2.3 to 3.0), so none is sent there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.adapters.milvus_http import HttpDoor
from migrator.errors import MilvusRefused, MilvusUnavailable

if TYPE_CHECKING:
    from migrator.adapters.milvus import MilvusEndpoint

_PATH = "/management/datacoord/garbage_collection"


class ManagementPort:
    """What pauses the garbage collection of the Milvus behind `endpoint.uri`."""

    def __init__(self, endpoint: MilvusEndpoint) -> None:
        self._endpoint = endpoint
        self._door = HttpDoor(endpoint, has_login=False)
        self._tickets: list[str] = []

    def close(self) -> None:
        """Give the connection back."""
        self._door.close()

    def pause(self, seconds: int) -> None:
        """Let nothing be collected from now on for so long; again for longer.

        Raises:
            MilvusRefused: The server has no such thing: before 2.3.4, and where its management is not built in.
            MilvusUnavailable: It does not answer, or says that it failed.
        """
        ticket = self._ask("pause", {"pause_seconds": str(seconds)})
        if ticket:
            self._tickets.append(ticket)

    def resume(self) -> None:
        """End the pause; from 2.6.8 on only the one that was asked for here, which has a ticket."""
        for ticket in self._tickets or [""]:
            self._ask("resume", {"ticket": ticket} if ticket else {})
        self._tickets.clear()

    def _ask(self, verb: str, query: dict[str, str]) -> str:
        """The ticket in the reply, empty from servers that have none."""
        uri, reply = self._endpoint.uri, self._door.ask("GET", f"{_PATH}/{verb}", query=query)
        if reply.status >= 500:
            raise MilvusUnavailable(
                f"{uri} could not {verb} garbage collection: {_told(reply.content)}",
                hint=f"see the log of the server behind {self._endpoint.uri_field}",
            )
        if reply.status >= 400 or not reply.is_object or reply.content.get("msg") != "OK":
            raise MilvusRefused(
                f"{uri} knows no pause of garbage collection (HTTP {reply.status})",
                hint=f"correct {self._endpoint.uri_field} (port 9091 by default; not every build has the pause)",
            )
        return str(reply.content.get("ticket") or "")


def _told(content: object) -> str:
    return str(content.get("msg", ""))[:200] if isinstance(content, dict) else "no reason given"
