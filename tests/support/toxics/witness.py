"""A proxy that remembers every request to a store, to tell which keys went there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.toxics.objects import Reply, Request, StoreProxy

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


class Witness(StoreProxy):
    """A real store at another port, and what it was asked."""

    def __init__(self, to_port: int) -> None:
        super().__init__(to_port)
        self.seen: list[Request] = []

    def answer(self, request: Request) -> Reply | None:
        """What the client gets."""
        self.seen.append(request)
        return super().answer(request)

    def who(self) -> set[str | None]:
        """The key ids that requests were signed with; None is one that was not signed as S3 wants it."""
        return {_signer(request) for request in self.seen}

    def tokens(self) -> set[str | None]:
        """The session tokens that came along."""
        return {_header(request, "x-amz-security-token") for request in self.seen}

    def betrayed(self, secrets: Iterable[str]) -> dict[str, str]:
        """Of `secrets` those that stood anywhere in a request, each with the first that had it."""
        wanted = list(secrets)
        return {secret: f"{each.verb} {each.target}" for each in self.seen for secret in wanted if _holds(each, secret)}

    def methods(self, part: str = "") -> list[str]:
        """The methods of the requests whose target holds `part`, one after the other."""
        return [request.method for request in self.seen if part in request.target]


def _header(request: Request, name: str) -> str | None:
    return next((value for key, value in request.headers.items() if key.lower() == name), None)


def _signer(request: Request) -> str | None:
    found = _CREDENTIAL.search(_header(request, "authorization") or "")
    return found[1] if found else None


def _holds(request: Request, secret: str) -> bool:
    return (
        any(secret in text for text in (request.target, *request.headers.values())) or secret.encode() in request.body
    )
