"""What answers at an address, whatever the plan file says of it."""

from __future__ import annotations

from typing import Protocol


class PeerTls(Protocol):
    """The TLS of a port, as it presents itself."""

    @property
    def wants_client_cert(self) -> bool: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Those in its certificate; none where it could not be read."""

    @property
    def is_expired(self) -> bool: ...


class Sighting(Protocol):
    """What was seen there; as text a sentence without its end."""

    @property
    def answer(self) -> str:
        """`http2`, `http1` or `unknown` of something that takes connections; any other word says that nothing does."""

    @property
    def service(self) -> str | None:
        """What it seems to be, `an S3 service`."""

    @property
    def tls(self) -> PeerTls | None:
        """None where it speaks in the clear."""

    @property
    def is_grpc(self) -> bool: ...


class LookAt(Protocol):
    """Looks at the host and port of an address; in a few seconds, and without an error whatever happens."""

    def __call__(self, uri: str, *, default_port: int | None = None) -> Sighting: ...
