"""Milvus's REST interface; Milvus 2.3 has version 1 of it, and from 2.4 on imports are asked for over version 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator.adapters.milvus_diagnosis import BUSY, PASSING, login_hint, privilege_hint
from migrator.adapters.milvus_http import HttpDoor
from migrator.errors import MilvusBusy, MilvusRefused, MilvusUnavailable
from migrator.model.capabilities import ImportApi, capabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.adapters.milvus import MilvusEndpoint
    from migrator.adapters.milvus_http import HttpReply
    from migrator.errors import MilvusError

_GOOD = 0
_OLD_GOOD = 200
"""What 2.3 and the first of 2.4 say of success; later ones say it of a partition that is not there."""
_LOGIN = ("authenticat", "auth check failure", "unauthorized")
_PRIVILEGE = "permission deny"
_TIMED_OUT = ("timeout", "timed out")
"""These in messages, lower case; what was asked for may come about nevertheless."""
_TOO_MANY_REQUESTS = 429
_LONGER_S = 5.0
"""What we wait beyond the server's own limit, so that it is the server that tells."""


class RestMilvus:
    """One Milvus over REST; `endpoint.uri` is where, with the login and the certificates of its gRPC port."""

    def __init__(self, endpoint: MilvusEndpoint) -> None:
        self._endpoint = endpoint
        self._door = HttpDoor(endpoint, has_login=True)

    def close(self) -> None:
        """Give the connection back."""
        self._door.close()

    @property
    def uri(self) -> str:
        """Where it is."""
        return self._endpoint.uri

    def ping(self, version: str) -> None:
        """Return where the REST interface of a server of that version answers, and takes the login.

        Raises:
            MilvusUnavailable: Nothing answers in time.
            MilvusRefused: Something else answers, or it says no.
        """
        if capabilities(version).import_api is ImportApi.GRPC:
            self._ask("GET", "/v1/vector/collections")
        else:
            self.ask("/v2/vectordb/collections/list", {})

    def ask(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: int | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """The `data` of an answer of version 2; `timeout_s` is told to the server too, and waited for.

        Raises:
            MilvusUnavailable: No answer in time, or none that says whether it was done.
            MilvusBusy: It takes no more requests now.
            MilvusRefused: Something else answers, or it says no.
        """
        if timeout_s is None:
            return self._ask("POST", path, body, headers=headers)
        told = {**(headers or {}), "Request-Timeout": str(timeout_s)}
        return self._ask("POST", path, body, headers=told, timeout_s=timeout_s + _LONGER_S)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        reply = self._door.ask(method, path, body=body, headers=headers, timeout_s=timeout_s)
        if not reply.is_object or "code" not in reply.content:
            raise self._is_no_milvus(reply)
        code, message = reply.content["code"], str(reply.content.get("message", "no reason given"))[:500]
        if reply.status < 400 and (code == _GOOD or (code == _OLD_GOOD and "data" in reply.content)):
            return reply.content.get("data")
        raise self._refusal(path, code, message, reply.status)

    def _refusal(self, path: str, code: object, message: str, status: int) -> MilvusError:
        said, lower = f"{path} was refused by {self.uri}: {message} (code {code})", message.lower()
        if any(text in lower for text in _LOGIN) or status == 401:
            return MilvusRefused(said, hint=login_hint(self._endpoint))
        if _PRIVILEGE in lower or status == 403:
            return MilvusRefused(said, hint=privilege_hint(self._endpoint, message))
        if status == _TOO_MANY_REQUESTS or any(text in lower for text in BUSY):
            return MilvusBusy(said)
        if status in {408, 504} or any(text in lower for text in (*_TIMED_OUT, *PASSING)):
            return MilvusUnavailable(said, hint="see whether the server is up and has room")
        return MilvusRefused(said, hint=f"see that {self._endpoint.uri_field} is where a Milvus serves REST")

    def _is_no_milvus(self, reply: HttpReply) -> MilvusError:
        field = self._endpoint.uri_field
        if reply.status == _TOO_MANY_REQUESTS:
            return MilvusBusy(f"{self.uri} takes no more requests now (HTTP {reply.status})")
        if reply.status >= 500 or reply.status == 408:
            return MilvusUnavailable(
                f"{self.uri} answers with HTTP {reply.status}", hint="see whether the server is up"
            )
        return MilvusRefused(
            f"what answers at {self.uri} is no REST interface of a Milvus (HTTP {reply.status})",
            hint=f"correct {field}: it is the gRPC port where proxy.http.port is not set in milvus.yaml",
        )
