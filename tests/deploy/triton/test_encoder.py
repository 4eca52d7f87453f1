"""The encoder backend inside a real Triton, on the tiny model."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from deploy.local import Triton
from tests import tiny_model
from tests.deploy.triton.conftest import Caller

TEXTS = ["怒", "今天演唱会好听哭乐" * 9, "ab", "爱" * 40, "难过的晚安", "?", "门票今天加油恨" * 20, "好听abc"]
OUTPUTS = ("emotion", "sentiment", "lovelorn", "embedding")


async def test_scores_come_back_in_the_order_of_the_texts(call: Caller) -> None:
    answer = await call(TEXTS, "emotion")
    marked = [[mark in text for mark in tiny_model.MARKS.values()] for text in TEXTS]
    expected = np.where(marked, tiny_model.HIGH, tiny_model.LOW)
    np.testing.assert_allclose(answer.as_numpy("emotion"), expected, atol=1e-5)


async def test_a_text_has_the_same_scores_in_a_large_batch_as_alone(call: Caller) -> None:
    texts = [text[: 1 + number % 40] for number in range(25) for text in TEXTS]  # 200 texts: four slices
    together = await call(texts, *OUTPUTS)
    alone = [await call([text], *OUTPUTS) for text in texts[:48]]
    for output in OUTPUTS:
        one_by_one = np.concatenate([answer.as_numpy(output) for answer in alone])
        np.testing.assert_allclose(together.as_numpy(output)[:48], one_by_one, atol=1e-6)


async def test_only_the_outputs_asked_for_come_back(call: Caller) -> None:
    answer = await call(TEXTS, "lovelorn", "emotion")
    assert {output.name for output in answer.get_response().outputs} == {"lovelorn", "emotion"}
    everything = await call(TEXTS)
    assert {output.name for output in everything.get_response().outputs} == {*OUTPUTS, "unknown"}


async def test_the_share_of_unknown_tokens_is_told(call: Caller) -> None:
    answer = await call(["今天怒", "今天龘", "龘龘龘", "今" * 200], "unknown")
    np.testing.assert_allclose(answer.as_numpy("unknown"), [[0], [1 / 3], [1], [0]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"\xff\xfe", "is not UTF-8"), (b"", "is empty"), ("　\n ".encode(), "is empty")],
    ids=["undecodable", "nothing", "blank"],
)
async def test_a_text_without_scores_fails_its_own_request_and_no_other(
    call: Caller, text: bytes, reason: str
) -> None:
    async with asyncio.TaskGroup() as group:  # together, so that they share dynamic batches
        good = [group.create_task(call(TEXTS, "emotion")) for _ in range(8)]
        bad = [group.create_task(_refusal(call, ["好听", text])) for _ in range(8)]
    for task in bad:
        assert task.result() == ("StatusCode.INVALID_ARGUMENT", f"text 1 of the request {reason}")
    for answer in good:
        assert answer.result().as_numpy("emotion").shape == (len(TEXTS), len(tiny_model.MARKS))


async def test_concurrent_requests_each_get_their_own_rows(call: Caller) -> None:
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(call([text], "embedding")) for text in TEXTS * 8]
    together = (await call(TEXTS, "embedding")).as_numpy("embedding")
    for number, answer in enumerate(answers):
        np.testing.assert_allclose(
            answer.result().as_numpy("embedding")[0], together[number % len(TEXTS)], atol=1e-6
        )


async def test_a_text_longer_than_the_tokenizer_takes_is_cut(call: Caller) -> None:
    most = "好" * tiny_model.LONGEST
    answer = await call([most + "怒" * 5000, most], "emotion")
    np.testing.assert_array_equal(*answer.as_numpy("emotion"))


async def test_several_versions_of_a_model_are_served_at_once(triton: Triton, call: Caller) -> None:
    tiny_model.write(triton.repository, name="two_versions", versions=(1, 2))
    await call.client.load_model("two_versions")
    first, second, again = [
        (await call(TEXTS, "embedding", model="two_versions", version=version)).as_numpy("embedding")
        for version in ("1", "2", "1")
    ]
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(first, again)
    await call.client.unload_model("two_versions")


async def test_a_graph_without_attention_mask_is_not_fed_one(triton: Triton, call: Caller) -> None:
    tiny_model.write(triton.repository, name="no_mask", mask=False)
    await call.client.load_model("no_mask")
    answer = await call(TEXTS, "embedding", model="no_mask")
    expected = await call(TEXTS, "embedding")
    np.testing.assert_allclose(answer.as_numpy("embedding"), expected.as_numpy("embedding"), atol=1e-6)
    await call.client.unload_model("no_mask")


async def test_an_output_that_the_graph_lacks_keeps_the_model_from_loading(
    triton: Triton, call: Caller
) -> None:
    folder = tiny_model.write(triton.repository, name="lacking")
    config = folder / "config.pbtxt"
    config.write_text(config.read_text() + 'output { name: "irony" data_type: TYPE_FP32 dims: [ 2 ] }\n')
    with pytest.raises(
        InferenceServerException, match=r"model\.onnx lacks outputs of config\.pbtxt: \['irony'\]"
    ):
        await call.client.load_model("lacking")


async def _refusal(call: Caller, texts: Sequence[str | bytes]) -> tuple[str | None, str | None]:
    with pytest.raises(InferenceServerException) as refused:
        await call(texts, "emotion")
    return refused.value.status(), refused.value.message()
