"""The smoke batch on a real Triton: shipped models pass, each defect is named and nothing of it serves."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from deploy.local import Redis, Triton
from stream import connections, smoke
from stream.errors import ConfigurationError, FanpulseError, SmokeFailed
from stream.keys import Keys
from stream.models import Models
from stream.promotion import Promotion
from stream.releases import Release, Releases
from stream.scorer import Scorer
from stream.settings import Settings
from tests import tiny_model

NAME = "spoilt_zh"
NEIGHBOURS = "the mean over the batch"
# version → what its graph or its config does wrong
GRAPHS: dict[str, tuple[str, Any]] = {
    "2": ("emotion", np.nan),
    "3": ("emotion", 2.0),
    "4": ("sentiment", 0.5),
    "5": ("embedding", 2.0),
    "6": ("emotion", NEIGHBOURS),
}
CONFIGS = {
    "7": ("emotion", "anger", "rage"),
    "8": ("lovelorn", "lovelorn@8", "lovelorn@0"),
    "9": ("embedding", "16", "15"),
    "10": ("emotion", '[\\"anger\\", \\"anxiety\\", \\"hate\\"', '[\\"anger\\", \\"anxiety\\"'),
}


@pytest.fixture(scope="module")
async def scorer(triton: Triton) -> AsyncIterator[Scorer]:
    made = Scorer.of(Settings(triton_url=triton.url))
    folder = tiny_model.write(triton.repository, name=NAME, versions=tuple(range(1, 12)), serve=1)
    for version, (output, factor) in GRAPHS.items():
        spoil(folder / version / "model.onnx", output, factor)
    lines = (folder / "config.pbtxt").read_text().splitlines()
    for version, (parameter, right, wrong) in CONFIGS.items():
        place = next(i for i, line in enumerate(lines) if f'"{parameter}@{version}"' in line)
        assert right in lines[place]
        lines[place] = lines[place].replace(right, wrong)
    (folder / "config.pbtxt").write_text("\n".join(lines))
    await made.reload(NAME)
    yield made
    await made.close()


def spoil(path: Path, output: str, factor: Any) -> None:
    """Multiply an output of a graph."""
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.output[:] = ["right" if name == output else name for name in node.output]
    if factor is NEIGHBOURS:
        first = numpy_helper.from_array(np.array([0], np.int64), "first")
        model.graph.initializer.append(first)
        model.graph.node.append(helper.make_node("ReduceMean", ["right", "first"], ["factor"]))
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    model.graph.node.append(helper.make_node("Mul", ["right", "factor"], [output]))
    onnx.save(model, str(path))


@pytest.mark.parametrize(
    ("name", "version"),
    [
        (NAME, "1"),
        ("emotion_zh", "3"),
        ("emotion_zh", "4"),
        ("emotion_zh", "5"),
        ("emotion_zh", "6"),
        ("emotion_en", "1"),
        ("emotion_en", "2"),
    ],
)
async def test_a_version_that_keeps_its_promises_passes(scorer: Scorer, name: str, version: str) -> None:
    served = await scorer.describe(name)
    assert str(await smoke.passed(scorer, name, version, promised=served)) == f"{name}/{version}"


FAILURES = [
    ("2", "output emotion holds values that are not finite"),
    ("3", "output emotion holds .* no probabilities"),
    ("4", "output sentiment sums to 0.5 to 0.5"),
    ("5", "embeddings are 2 to 2 long"),
    ("6", "output emotion of text 0 moves by .* with its batch neighbours"),
    ("7", "labels of task emotion are .*'rage'"),
    ("8", "has no task lovelorn"),
    ("9", r"output embedding has shape \(16, 16\), expected \(16, 15\)"),
    ("10", "negative of task emotion are"),
]


@pytest.mark.parametrize(("version", "why"), FAILURES, ids=[version for version, _ in FAILURES])
async def test_a_version_with_a_defect_fails_and_the_defect_is_named(
    scorer: Scorer, version: str, why: str
) -> None:
    with pytest.raises(SmokeFailed, match=rf"{NAME}/{version} fails its smoke batch: .*{why}"):
        await smoke.passed(scorer, NAME, version, promised=await scorer.describe(NAME))


@pytest.fixture
async def service(triton: Triton, redis_server: Redis, scorer: Scorer) -> AsyncIterator[Any]:
    settings = Settings(triton_url=triton.url, redis_url=redis_server.url, models={"zh": NAME})
    redis = connections.connect_redis(settings)
    keys = Keys(settings.redis_prefix)
    async with Promotion.of(settings) as promotion:
        yield SimpleNamespace(
            promotion=promotion,
            releases=Releases(redis, keys),
            models=Models(scorer, redis, keys, settings.models),
        )
    await redis.aclose()


@pytest.mark.parametrize("how", ["promote", "shadow"])
async def test_a_version_that_fails_is_not_put_in_service(service: Any, how: str) -> None:
    with pytest.raises(SmokeFailed):
        await getattr(service.promotion, how)(NAME, "4")
    assert await service.releases.read() == {}


async def test_the_command_names_the_failure_and_exits_1(
    triton: Triton, redis_server: Redis, scorer: Scorer
) -> None:
    assert "4" in await scorer.versions(NAME)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "models", "promote", NAME, "4"),
        env={
            "FANPULSE_TRITON_URL": triton.url,
            "FANPULSE_REDIS_URL": redis_server.url,
            "FANPULSE_MODELS": f'{{"zh": "{NAME}"}}',
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"spoilt_zh/4 fails its smoke batch: output sentiment sums to 0.5" in said


async def test_a_worker_does_not_serve_it_though_redis_says_so(service: Any) -> None:
    await service.models.start()
    await service.releases.write(NAME, Release(version="4", shadow="5"))
    await service.models.refresh()
    assert [str(model) for model in service.models.in_service()] == [f"{NAME}/1"]
    assert service.models.shadows == {}


async def test_a_redis_that_forgot_takes_nothing_back(service: Any, redis_server: Redis) -> None:
    await service.models.start()
    await service.promotion.promote(NAME, "11")
    await service.models.refresh()
    async with redis_server.connect() as client:
        await client.flushall()
    await service.models.refresh()
    assert str(service.models.at(0)["zh"]) == f"{NAME}/11"


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("promote", NAME, "1"), f"{NAME}/1 serves already"),
        (("promote", NAME, "77"), "Triton has no version 77 of spoilt_zh, only 1, 2"),
        (("promote", "emotion_xy", "1"), "names no model emotion_xy, only spoilt_zh"),
        (("rollback", NAME), "nothing to roll back"),
    ],
    ids=["served", "no-version", "no-model", "nothing-before"],
)
async def test_what_cannot_be_done_is_refused_and_said(service: Any, call: tuple[str, ...], why: str) -> None:
    how, *arguments = call
    with pytest.raises(ConfigurationError, match=why):
        await getattr(service.promotion, how)(*arguments)
    assert await service.releases.read() == {}


async def test_a_version_that_triton_cannot_load_leaves_those_that_serve(
    service: Any, scorer: Scorer, triton: Triton
) -> None:
    broken = triton.repository / NAME / "12"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"no model")
    try:
        with pytest.raises(FanpulseError, match=NAME):
            await service.promotion.promote(NAME, "12")
        assert "12" not in await scorer.versions(NAME)
        await smoke.passed(scorer, NAME, "1")
    finally:
        (broken / "model.onnx").unlink()
        broken.rmdir()
