"""Milvus's REST interface; Milvus 2.3 has version 1 of it, and from 2.4 on imports are asked for over version 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator.adapters.milvus_diagnosis import login_hint, privilege_hint
from migrator.adapters.milvus_http import HttpDoor
from migrator.errors import MilvusRefused, MilvusUnavailable
from migrator.model.capabilities import ImportApi, capabilities

if TYPE_CHECKING:
    from migrator.adapters.milvus import MilvusEndpoint
    from migrator.adapters.milvus_http import HttpReply

_GOOD = {0, 200}
"""Codes of success: 2.3 and the first of 2.4 say 200."""
_LOGIN = ("authenticat", "auth check failure", "unauthorized")
"""In messages, lower case."""
_PRIVILEGE = "permission deny"


class RestMilvus:
    """One Milvus over REST; `endpoint.uri` is where, with the login and the certificates of its gRPC port."""

    def __init__(self, endpoint: MilvusEndpoint) -> None:
        self._endpoint = endpoint
        self._door = HttpDoor(endpoint, has_login=True)

    def close(self) -> None:
        """Give the connection back."""
        self._door.close()

    def ping(self, version: str) -> None:
        """Return where the REST interface of a server of that version answers, and takes the login.

        Raises:
            MilvusUnavailable: Nothing answers in time.
            MilvusRefused: Something else answers, or it says no.
        """
        if capabilities(version).import_api is ImportApi.GRPC:
            self._ask("GET", "/v1/vector/collections")
        else:
            self._ask("POST", "/v2/vectordb/collections/list", {})

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        reply = self._door.ask(method, path, body=body)
        if not reply.is_object or "code" not in reply.content:
            raise self._is_no_milvus(reply)
        code, message = reply.content["code"], str(reply.content.get("message", "no reason given"))[:500]
        if code in _GOOD and reply.status < 400:
            return reply.content.get("data")
        said = f"{path} was refused by {self._endpoint.uri}: {message} (code {code})"
        if any(text in message.lower() for text in _LOGIN) or reply.status == 401:
            raise MilvusRefused(said, hint=login_hint(self._endpoint))
        if _PRIVILEGE in message.lower() or reply.status == 403:
            raise MilvusRefused(said, hint=privilege_hint(self._endpoint, message))
        raise MilvusRefused(said, hint=f"see that {self._endpoint.uri_field} is where a Milvus serves REST")

    def _is_no_milvus(self, reply: HttpReply) -> MilvusRefused | MilvusUnavailable:
        field = self._endpoint.uri_field
        if reply.status >= 500:
            return MilvusUnavailable(
                f"{self._endpoint.uri} answers with HTTP {reply.status}", hint="see whether the server is up"
            )
        return MilvusRefused(
            f"what answers at {self._endpoint.uri} is no REST interface of a Milvus (HTTP {reply.status})",
            hint=f"correct {field}: it is the gRPC port where proxy.http.port is not set in milvus.yaml",
        )
