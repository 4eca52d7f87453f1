"""A gRPC server that passes every call to a real Triton and, when told to, lies about the scores.

It changes answers, never questions; what it says of models and health is Triton's own.
"""

import asyncio
from typing import Literal, Self, get_args

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

Lie = Literal["slow", "silent", "nan", "shape", "internal", "unavailable", "refuse", "overloaded"]
LIES: tuple[Lie, ...] = get_args(Lie)

_CODES: dict[Lie, grpc.StatusCode] = {
    "internal": grpc.StatusCode.INTERNAL,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "refuse": grpc.StatusCode.INVALID_ARGUMENT,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_SLOW_S = 2.0


class Liar(grpc.GenericRpcHandler):
    """Listens on `port` in front of the Triton at `upstream`; `lie` is what it does with inferences now."""

    def __init__(self, upstream: int, port: int) -> None:
        self.port = port
        self.lie: Lie | None = None
        self.lies_left = -1  # after so many the truth is told again; -1: never
        self._upstream = upstream

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{self._upstream}", options=[("grpc.max_reconnect_backoff_ms", 500)]
        )
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)
        await self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method

        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            lie = self._lie() if method.endswith("/ModelInfer") else None
            if lie in _CODES:
                await context.abort(_CODES[lie], "so it was told to say")
            if lie == "silent":
                await asyncio.Event().wait()  # until the caller's deadline ends it
            if lie == "slow":
                await asyncio.sleep(_SLOW_S)
            try:
                truth = await self._channel.unary_unary(method)(request, timeout=60)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            return twisted(truth, lie) if lie in ("nan", "shape") else truth

        return grpc.unary_unary_rpc_method_handler(answer)

    def _lie(self) -> Lie | None:
        if self.lies_left == 0:
            return None
        self.lies_left -= 1
        return self.lie


def twisted(truth: bytes, lie: Lie) -> bytes:
    """An inference's answer with scores that are no numbers, or with one row too few."""
    answer = pb.ModelInferResponse.FromString(truth)
    for place, output in enumerate(answer.outputs):
        scores = np.frombuffer(answer.raw_output_contents[place], np.float32).reshape(tuple(output.shape))
        if lie == "nan":
            scores = np.full_like(scores, np.nan)
        else:
            scores = scores[:-1]
            output.shape[0] -= 1
        answer.raw_output_contents[place] = scores.tobytes()
    return bytes(answer.SerializeToString())
