"""One HTTP address of a Milvus, with the certificates of its gRPC port: asked in bounded time, never by detours."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from migrator.adapters.milvus_diagnosis import explain_certificates, login_hint
from migrator.adapters.milvus_tls import trusting
from migrator.errors import MilvusRefused, MilvusUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.adapters.milvus import MilvusEndpoint
    from migrator.errors import MilvusError

TIMEOUT_S = 10.0
"""Of a connection, and of each silence; an answer as a whole has twice as long."""
_MOST_BYTES = 1 << 26
"""Enough for a job of 1024 files, or a thousand segments."""
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """What came back; `content` is the JSON, None where there is none."""

    status: int
    content: Any
    location: str

    @property
    def is_object(self) -> bool:
        """Whether it is a JSON object, as all answers of Milvus are."""
        return isinstance(self.content, dict)


class HttpDoor:
    """Requests to `endpoint.uri`; a login travels with each, and to that address alone."""

    def __init__(self, endpoint: MilvusEndpoint, *, has_login: bool) -> None:
        self.endpoint = endpoint
        named = {"sni_hostname": endpoint.server_name} if endpoint.server_name else {}
        self._extensions: dict[str, Any] = named
        login = [(b"Authorization", f"Bearer {endpoint.token}".encode())] if has_login and endpoint.token else []
        self._client = httpx.Client(
            base_url=endpoint.uri,
            headers=login,
            verify=trusting(endpoint),
            timeout=TIMEOUT_S,
            follow_redirects=False,  # a login would go wherever the answer says
            trust_env=False,  # nor to a proxy that the plan does not name
        )

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> HttpReply:
        """The answer, whatever its status; `timeout_s` is for one that takes longer than usual.

        Raises:
            MilvusUnavailable: None came, or not in time.
            MilvusRefused: The two do not agree on certificates, or the answer leads elsewhere.
        """
        try:
            with self._client.stream(
                method,
                path,
                json=body,
                params=query,
                headers=headers,
                timeout=timeout_s or TIMEOUT_S,
                extensions=self._extensions,
            ) as answer:
                reply = HttpReply(
                    status=answer.status_code,
                    content=_json_of(_read(answer)),
                    location=answer.headers.get("location", ""),
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._explained(error) from error
        if 300 <= reply.status < 400:
            raise MilvusRefused(
                f"{self.endpoint.uri}{path} leads elsewhere ({reply.location[:_SHOWN]}), where no login is sent",
                hint=f"write the address that it leads to into {self.endpoint.uri_field}, if it is your Milvus's",
            )
        return reply

    def _explained(self, error: Exception) -> MilvusError:
        explained = explain_certificates(self.endpoint) if isinstance(error, httpx.TransportError) else None
        if isinstance(error, httpx.LocalProtocolError):  # it may show the header it does not like, the login
            raise MilvusRefused(
                f"no request can be made to {self.endpoint.uri} with this login", hint=login_hint(self.endpoint)
            ) from None
        return explained or MilvusUnavailable(
            f"no answer came from {self.endpoint.uri}: {str(error) or type(error).__name__}",
            hint=f"correct {self.endpoint.uri_field}, or start the server",
        )


def _read(answer: httpx.Response) -> bytes:
    deadline, content = time.monotonic() + 2 * TIMEOUT_S, b""
    for part in answer.iter_bytes():
        content += part
        if len(content) > _MOST_BYTES or time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer does not end")
    return content


def _json_of(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None
