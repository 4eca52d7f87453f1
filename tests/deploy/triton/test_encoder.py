"""The encoder backend inside a real Triton, on the tiny model."""

from collections.abc import Sequence

import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from deploy.local import Triton
from tests import tiny_model

TEXTS = ["怒", "今天演唱会好听哭乐" * 9, "ab", "爱" * 40, "难过的晚安", "?", "门票今天加油恨" * 20, "好听abc"]


async def infer(
    server: Triton, texts: Sequence[bytes], *outputs: str, model: str = tiny_model.NAME
) -> InferResult:
    tensor = InferInput("text", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=np.object_).reshape(-1, 1))
    wanted = [InferRequestedOutput(name) for name in outputs]
    async with InferenceServerClient(server.url.removeprefix("grpc://")) as client:
        return await client.infer(model, [tensor], outputs=wanted or None)


async def test_a_text_that_is_not_utf8_is_an_invalid_argument(triton: Triton) -> None:
    with pytest.raises(InferenceServerException, match="text 1 of the request is not UTF-8") as refused:
        await infer(triton, ["好听".encode(), b"\xff\xfe"])
    assert "INVALID_ARGUMENT" in str(refused.value.status())


async def test_scores_come_back_in_the_order_of_the_texts(triton: Triton) -> None:
    answer = await infer(triton, [text.encode() for text in TEXTS], "emotion")
    marked = [[tiny_model.MARKS[label] in text for label in tiny_model.MARKS] for text in TEXTS]
    expected = np.where(marked, tiny_model.HIGH, tiny_model.LOW)
    np.testing.assert_allclose(answer.as_numpy("emotion"), expected, atol=1e-5)
