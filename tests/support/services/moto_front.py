"""What the programs that put a gate of ours in front of moto share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.services.depot import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Environ: TypeAlias = dict[str, Any]
    StartResponse: TypeAlias = Callable[..., Any]
    Application: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


def serve(port: int, gate: Callable[[Application], Application]) -> None:
    """Serve moto's S3 behind a gate until the end of the process."""
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415 - slow to import
    from werkzeug.serving import WSGIRequestHandler, run_simple  # noqa: PLC0415 - as above

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple(
        HOST, port, gate(DomainDispatcherApplication(create_backend_app)), threaded=True, request_handler=Handler
    )
