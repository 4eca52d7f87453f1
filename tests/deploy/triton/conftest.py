"""Texts sent to the session's Triton."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient

from deploy.local import Triton
from tests import tiny_model


class Caller:
    """Sends texts to one server."""

    def __init__(self, client: InferenceServerClient) -> None:
        self.client = client

    async def __call__(
        self, texts: Sequence[str | bytes], *outputs: str, model: str = tiny_model.NAME, version: str = ""
    ) -> InferResult:
        values = [text.encode() if isinstance(text, str) else text for text in texts]
        tensor = InferInput("text", [len(values), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(values, dtype=np.object_).reshape(-1, 1))
        wanted = [InferRequestedOutput(name) for name in outputs]
        return await self.client.infer(model, [tensor], model_version=version, outputs=wanted or None)


@pytest.fixture
async def call(triton: Triton) -> AsyncIterator[Caller]:
    async with InferenceServerClient(triton.url.removeprefix("grpc://")) as client:
        yield Caller(client)
