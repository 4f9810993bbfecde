"""A gRPC proxy in front of a real Milvus: forwards raw messages, and does to some calls what a test asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Self

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
RATE_LIMIT = "request is rejected by grpc RateLimiter middleware, please retry later: rate limit exceeded[rate=0.1]"
NOT_READY = "service not ready[standalone=1]: Initializing"
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_PROMPT = [*_UNLIMITED, ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300)]
_KEPT_METADATA = {"authorization", "dbname", "identifier"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way."""

    method: str
    request: bytes
    context: grpc.ServicerContext
    _forward: Callable[[], bytes]

    def forward(self) -> bytes:
        """Let the server do it, and return its reply."""
        return self._forward()

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End it without a reply."""
        self.context.abort(code, details)
        raise AssertionError  # abort raises

    def hang(self) -> NoReturn:
        """Say nothing for as long as the caller waits."""
        while self.context.is_active():
            time.sleep(0.05)
        self.abort(grpc.StatusCode.CANCELLED, "nobody waits any more")


Effect = Callable[[Call], bytes]
"""What becomes of a call: the reply's bytes, or an abort."""


@dataclass(slots=True)
class Toxic:
    """What becomes of the next `times` calls of `method` that `when` accepts; None is all of them."""

    method: str
    effect: Effect
    times: int | None = 1
    when: Callable[[bytes], bool] = field(default=lambda _: True)
    hits: int = 0

    def takes(self, call: Call) -> bool:
        """Whether this call is one of them; then it is counted."""
        if call.method != self.method or (self.times is not None and self.hits >= self.times):
            return False
        if not self.when(call.request):
            return False
        self.hits += 1
        return True


class MilvusProxy:
    """A real Milvus at another port, whose calls can be poisoned."""

    def __init__(self, to_port: int) -> None:
        self._channel = grpc.insecure_channel(f"{HOST}:{to_port}", options=_PROMPT)
        self._toxics: list[Toxic] = []
        self._guard = threading.Lock()
        self.calls: list[str] = []
        """The methods called, in order."""
        self._server = grpc.server(ThreadPoolExecutor(32), options=[*_UNLIMITED, ("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Everything(self._handle),))
        self.port = self._server.add_insecure_port(f"{HOST}:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0).wait(5)
        self._channel.close()

    def poison(
        self, method: str, effect: Effect, times: int | None = 1, when: Callable[[bytes], bool] = lambda _: True
    ) -> Toxic:
        """Do `effect` to the next calls of a method; earlier toxics come first."""
        toxic = Toxic(method, effect, times, when)
        with self._guard:
            self._toxics.append(toxic)
        return toxic

    def cure(self) -> None:
        """Forward everything from now on."""
        with self._guard:
            self._toxics.clear()

    def _handle(self, path: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        call = Call(path.rsplit("/", maxsplit=1)[-1], request, context, lambda: self._send(path, request, context))
        with self._guard:
            self.calls.append(call.method)
            toxic = next((toxic for toxic in self._toxics if toxic.takes(call)), None)
        return toxic.effect(call) if toxic else call.forward()

    def _send(self, path: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = tuple((key, value) for key, value in context.invocation_metadata() if key in _KEPT_METADATA)
        send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path, None, None)
        try:
            return send(request, timeout=context.time_remaining(), metadata=metadata)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "")
            raise AssertionError from error  # abort raises


class _Everything(grpc.GenericRpcHandler):
    """Takes every unary call as bytes."""

    def __init__(self, handle: Callable[[str, bytes, grpc.ServicerContext], bytes]) -> None:
        self._handle = handle

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method

        def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
            return self._handle(path, request, context)

        return grpc.unary_unary_rpc_method_handler(behave)


# -- effects ----------------------------------------------------------------------------------------------------------


def refused(call: Call) -> bytes:
    """The server never sees it."""
    call.abort(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; Connection refused")


def reply_lost(call: Call) -> bytes:
    """The server does it, and the connection breaks before its reply."""
    call.forward()
    call.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def stream_removed(call: Call) -> bytes:
    """The same, as gRPC tells it at other moments."""
    call.forward()
    call.abort(grpc.StatusCode.UNKNOWN, "Stream removed")


def reply_hangs(call: Call) -> bytes:
    """The server does it, and the caller waits in vain for its reply."""
    call.forward()
    call.hang()


def hangs(call: Call) -> bytes:
    """The server never sees it, and the caller waits in vain."""
    call.hang()


def delayed(seconds: float) -> Effect:
    """It arrives so much later."""

    def effect(call: Call) -> bytes:
        time.sleep(seconds)
        return call.forward()

    return effect


def answered(message: Any) -> Effect:  # noqa: ANN401 - messages have no types
    """The server never sees it, and this is the reply."""

    def effect(_: Call) -> bytes:
        return bytes(message.SerializeToString())

    return effect


def changed(kind: Any, change: Callable[[Any], object]) -> Effect:  # noqa: ANN401 - as above
    """The server does it, and its reply of this kind is changed on the way."""

    def effect(call: Call) -> bytes:
        reply = kind.FromString(call.forward())
        change(reply)
        return bytes(reply.SerializeToString())

    return effect


def rate_limited(kind: Any = common_pb2.Status) -> Effect:  # noqa: ANN401 - as above
    """Rejected by Milvus's rate limiter, in a reply of this kind."""
    return _status(kind, code=8, error_code=common_pb2.ErrorCode.RateLimit, reason=RATE_LIMIT)


def not_ready(kind: Any = common_pb2.Status) -> Effect:  # noqa: ANN401 - as above
    """Told that the server is still starting, in a reply of this kind."""
    return _status(kind, code=5, error_code=common_pb2.ErrorCode.NotReadyServe, reason=NOT_READY)


def _status(kind: Any, **values: Any) -> Effect:  # noqa: ANN401 - as above
    status = common_pb2.Status(**values)
    return answered(status if kind is common_pb2.Status else kind(status=status))


def import_state(**values: Any) -> Effect:  # noqa: ANN401 - as above
    """The state of an import job, changed on the way; `failed_reason` goes where Milvus puts it."""

    def change(reply: Any) -> None:  # noqa: ANN401 - as above
        reason = values.get("failed_reason")
        for name, value in values.items():
            if name != "failed_reason":
                setattr(reply, name, value)
        if reason is not None:
            reply.infos.append(common_pb2.KeyValuePair(key="failed_reason", value=reason))

    return changed(milvus_pb2.GetImportStateResponse, change)
