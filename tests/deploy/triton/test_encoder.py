"""The encoder backend inside a real Triton, on the tiny model."""

from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from deploy.local import Triton
from tests import tiny_model

TEXTS = ["怒", "今天演唱会好听哭乐" * 9, "ab", "爱" * 40, "难过的晚安", "?", "门票今天加油恨" * 20, "好听abc"]


async def infer(server: Triton, texts: list[bytes], outputs=("emotion", "embedding"), model=tiny_model.NAME, version=""):
    tensor = InferInput("text", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=np.object_).reshape(-1, 1))
    async with InferenceServerClient(server.url.removeprefix("grpc://")) as client:
        return await client.infer(model, [tensor], version, outputs=[InferRequestedOutput(name) for name in outputs])


async def test_a(triton):
    answer = await infer(triton, [t.encode() for t in TEXTS])
    print(answer.as_numpy("emotion").round(3))
    with pytest.raises(InferenceServerException) as e:
        await infer(triton, [b"\xff", b"a"])
    print(e.value.status(), e.value)
