"""What every model of triton_models/ promises, each version, asked through the server."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc import InferResult

from deploy.local.triton import REPOSITORY
from tests.deploy.triton.conftest import Caller

SHIPPED = sorted(config.parent.name for config in REPOSITORY.glob("*/config.pbtxt"))
VERSIONS = [
    pytest.param(name, folder.name, id=f"{name}/{folder.name}")
    for name in SHIPPED
    for folder in sorted((REPOSITORY / name).glob("[0-9]*"))
]
TEXTS = [
    "昨晚的演唱会太好听了，安可唱了三首，嗓子都喊哑了还想再去一次！",
    "气死我了，抢了两个小时的票，最后告诉我系统错误",
    "哦",
    "What a night, the encore made me cry",
    "we waited four hours in the rain and they cancelled it, never again",
    "😀😀😀",
    "……",
    "[允悲][允悲]",
    "1",
    "\u200b.",
    "الحفل",
    "等公告" * 3000,
]


@pytest.mark.parametrize(("model", "version"), VERSIONS)
async def test_any_text_has_probabilities_and_a_unit_embedding(
    call: Caller, model: str, version: str
) -> None:
    config = (await call.client.get_model_config(model, as_json=True))["config"]
    parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    answers = arrays(await call(TEXTS, model=model, version=version))
    for key, value in parameters.items():
        if not key.endswith(f"@{version}") or key.startswith("reference@"):
            continue
        name, spec = key.split("@")[0], json.loads(value)
        answer = answers[name]
        if name == "embedding":
            assert answer.shape == (len(TEXTS), spec["dim"])
            np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1, atol=1e-3)
            continue
        assert answer.shape == (len(TEXTS), len(spec["labels"]))
        assert ((answer >= 0) & (answer <= 1)).all()
        if spec["kind"] == "multiclass":
            np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize(("model", "version"), VERSIONS)
async def test_a_text_has_the_same_scores_whatever_its_neighbours(
    call: Caller, model: str, version: str
) -> None:
    together = arrays(await call(TEXTS * 12, model=model, version=version))  # three slices
    alone = [arrays(await call([text], model=model, version=version)) for text in TEXTS]
    for name, answer in together.items():
        one_by_one = np.concatenate([single[name] for single in alone] * 12)
        np.testing.assert_allclose(answer, one_by_one, atol=1e-4, err_msg=name)


def arrays(answer: InferResult) -> dict[str, NDArray[np.float32]]:
    """Output name to an array [texts, …]."""
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}
