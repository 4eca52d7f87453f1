"""Versions switched under a running worker, on real Kafka, Redis and Triton, by `fanpulse models`."""

import asyncio
import itertools
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import onnx
import orjson
import pytest
from onnx import TensorProto, helper

from deploy.local import Kafka, Redis, Triton
from stream.scorer import Scorer
from stream.settings import Settings
from tests import tiny_model
from tests.stream.deployment import Deployment, Worker, comment, deployed, until

NAME = "switched_zh"
PARTITIONS = 4
CANARY = 0.5  # of four partitions: those that the hash says, which is some and not all
MARKS = list(tiny_model.MARKS.values())


@pytest.fixture(scope="module")
async def repository(triton: Triton) -> Path:
    """The model's folder in Triton's repository, of which version 1 is loaded."""
    folder = tiny_model.write(triton.repository, name=NAME, versions=(1,))
    scorer = Scorer.of(Settings(triton_url=triton.url))
    await scorer.reload(NAME)
    await scorer.close()
    return folder


@pytest.fixture
async def deployment(
    kafka: Kafka, redis_server: Redis, triton: Triton, tmp_path: Path
) -> AsyncIterator[Deployment]:
    models = orjson.dumps({"zh": NAME}).decode()
    async with deployed(
        kafka, redis_server, triton, tmp_path, partitions=PARTITIONS, models=models, batch_records=64
    ) as deployment:
        yield deployment


async def fanpulse_models(deployment: Deployment, *arguments: str) -> str:
    """Run the command and return what it prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "models", *arguments),
        env={**deployment.environment(), "COLUMNS": "300", "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


class Traffic:
    """Comments to every partition while it flows; each text is new, and its mood is one of nine."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.sent = 0
        self.flows = True

    async def run(self) -> None:
        while self.flows:
            await self.send(20)
            await asyncio.sleep(0.1)

    async def send(self, count: int, texts: Any = None) -> None:
        numbers = range(self.sent, self.sent + count)
        chosen = [(texts or sentence)(number) for number in numbers]
        values = [comment(number, text) for number, text in zip(numbers, chosen, strict=True)]
        for partition in range(PARTITIONS):
            await self._deployment.send(values, partition)
        self.sent += count

    async def settled(self) -> None:
        for partition in range(PARTITIONS):
            await self._deployment.settled(self.sent, partition)


def sentence(number: int) -> str:
    return MARKS[number % 9] + f"{number:b}".translate(str.maketrans("01", "ab"))


async def versions(deployment: Deployment, partition: int) -> list[str]:
    """The runs of versions in a partition's events; each offset has one event."""
    events = await deployment.events(partition)
    assert [event["source"]["offset"] for event in events] == list(range(len(events)))
    return [model.removeprefix(f"{NAME}/") for model, _ in itertools.groupby(e["model"] for e in events)]


async def metric(worker: Worker, name: str, **labels: str) -> dict[str, float]:
    """Samples of a worker's metric that carry `labels`."""
    _, text = await worker.web("/metrics")
    lines = re.findall(rf"^({name}(?:{{.*}})?) (\S+)$", text, re.MULTILINE)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return {series: float(value) for series, value in lines if all(part in series for part in wanted)}


async def test_a_promotion_and_a_rollback_switch_a_running_worker_and_lose_nothing(
    deployment: Deployment, repository: Path
) -> None:
    """Version 2 comes into Triton's repository while version 1 serves."""
    await deployment.worker()
    traffic = Traffic(deployment)
    running = asyncio.create_task(traffic.run())

    async def serves(version: str) -> None:
        async def last() -> bool:
            events = [await deployment.events(partition) for partition in range(PARTITIONS)]
            return all(some and some[-1]["model"] == f"{NAME}/{version}" for some in events)

        await until(last, what=f"events of version {version}")

    await serves("1")
    tiny_model.write(repository.parent, name=NAME, versions=(1, 2), serve=1)
    assert await fanpulse_models(deployment, "promote", NAME, "2") == f"{NAME}/2 replaces {NAME}/1\n"
    await serves("2")
    (row,) = (line for line in (await fanpulse_models(deployment, "list")).splitlines() if NAME in line)
    assert re.split(r" {2,}", row.strip())[:7] == [NAME, "1, 2", "2", "-", "-", "1", "zh"]
    assert await fanpulse_models(deployment, "rollback", NAME) == f"{NAME}/1 serves all partitions\n"
    await serves("1")
    traffic.flows = False
    await running
    await traffic.settled()
    for partition in range(PARTITIONS):
        assert await versions(deployment, partition) == ["1", "2", "1"]
        assert (await deployment.bucket("m", partition))["n"] == traffic.sent


async def test_a_canary_serves_its_partitions_alone_and_a_rebuild_gives_them_the_same_version(
    deployment: Deployment, repository: Path
) -> None:
    tiny_model.write(repository.parent, name=NAME, versions=(1, 2), serve=1)
    said = await fanpulse_models(deployment, "promote", NAME, "2", "--canary", str(CANARY))
    taken = {int(number) for number in re.findall(r"\d+", said.partition("partitions")[2])}
    assert taken
    assert taken < set(range(PARTITIONS))
    traffic = Traffic(deployment)
    await traffic.send(200)
    worker = await deployment.worker()
    await traffic.settled()
    expected = {partition: ["2"] if partition in taken else ["1"] for partition in range(PARTITIONS)}
    assert {p: await versions(deployment, p) for p in range(PARTITIONS)} == expected
    in_service = await metric(worker, "fanpulse_model_in_service", model=NAME)
    assert sorted(in_service.values()) == [CANARY, 1 - CANARY]

    async for key in deployment.client.scan_iter(match=f"fp:{{{deployment.topic}:*"):
        await deployment.client.delete(key)
    await traffic.settled()
    assert {p: await versions(deployment, p) for p in range(PARTITIONS)} == expected
    await fanpulse_models(deployment, "rollback", NAME)

    async def ended() -> bool:
        return list((await metric(worker, "fanpulse_model_in_service", model=NAME)).values()) == [1.0]

    await until(ended, what="the end of the canary")
    await traffic.send(50)
    await traffic.settled()
    assert [(await versions(deployment, p))[-1] for p in range(PARTITIONS)] == ["1"] * PARTITIONS


async def test_a_shadow_is_compared_settled_nowhere_and_may_fail(
    deployment: Deployment, repository: Path
) -> None:
    """Version 3 is version 2 but for angry texts, which it cannot run; none of the smoke batch is angry."""
    tiny_model.write(repository.parent, name=NAME, versions=(1, 2, 3), serve=1)
    fail_for_anger(repository / "3" / "model.onnx")
    worker = await deployment.worker()
    traffic = Traffic(deployment)

    async def outcomes(outcome: str, shadow: str) -> float:
        wanted = {"model": NAME, "outcome": outcome, "shadow": shadow}
        return sum((await metric(worker, "fanpulse_shadow_texts_total", **wanted)).values())

    for version, outcome in (("2", "compared"), ("3", "failed")):
        await fanpulse_models(deployment, "shadow", NAME, version)

        async def known(version: str = version) -> Any:
            return await metric(worker, "fanpulse_model_in_service", role="shadow", version=version)

        await until(known, what=f"shadow {version}")
        await traffic.send(100)

        async def counted(outcome: str = outcome, version: str = version) -> bool:
            return await outcomes(outcome, version) >= 100

        await until(counted, what=f"shadow texts {outcome}")
        await traffic.settled()
    for partition in range(PARTITIONS):
        assert await versions(deployment, partition) == ["1"]
        assert (await deployment.bucket("m", partition))["n"] == traffic.sent
    (agreed,) = (await metric(worker, "fanpulse_shadow_agreed_total", shadow="2")).values()
    assert agreed == await outcomes("compared", "2")  # tiny models differ in their embeddings alone
    assert (await worker.web("/ready"))[0] == 200
    assert "fanpulse_breaker_open" in (await worker.web("/metrics"))[1]
    assert set((await metric(worker, "fanpulse_breaker_open")).values()) == {0.0}
    await fanpulse_models(deployment, "shadow", NAME)
    assert (await deployment.client.hgetall("fp:models"))[f"{NAME}:shadow".encode()] == b""


def fail_for_anger(path: Path) -> None:
    """Make a graph fail at run time for a batch with an angry text, by a length that is then negative."""
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.output[:] = ["right" if name == "emotion" else name for name in node.output]
    add = helper.make_node
    model.graph.node.extend(
        [
            add("Constant", [], ["anger"], value_ints=[list(tiny_model.MARKS).index("anger")]),
            add("Gather", ["right", "anger"], ["angry"], axis=1),
            add("ReduceMax", ["angry"], ["angriest"]),
            add("Constant", [], ["one"], value_ints=[1]),
            add("Reshape", ["angriest", "one"], ["most"]),
            add("Constant", [], ["half"], value_float=0.5),
            add("Sub", ["half", "most"], ["room"]),
            add("Floor", ["room"], ["below"]),  # 0, or -1 where a text is angry
            add("Cast", ["below"], ["left"], to=TensorProto.INT64),
            add("Constant", [], ["filler"], value_float=0.0),
            add("Expand", ["filler", "left"], ["none"]),  # a negative length is refused
            add("ReduceSum", ["none"], ["nothing"], keepdims=0),
            add("Add", ["right", "nothing"], ["emotion"]),
        ]
    )
    onnx.save(model, str(path))


async def test_drift_rises_with_a_shifted_population_and_not_before(
    deployment: Deployment, repository: Path, triton: Triton, tmp_path: Path
) -> None:
    tiny_model.write(repository.parent, name=NAME, versions=(1, 2), serve=1)
    usual = tmp_path / "usual.csv"
    usual.write_text("text\n" + "\n".join(sentence(number) for number in range(900)))
    arguments = ("reference", NAME, "1", str(usual), "--repository", str(repository.parent))
    assert "reference of 900 texts" in await fanpulse_models(deployment, *arguments)
    scorer = Scorer.of(Settings(triton_url=triton.url))
    await scorer.reload(NAME)
    await scorer.close()
    worker = await deployment.worker()
    traffic = Traffic(deployment)

    async def drift() -> dict[str, float]:
        return await metric(worker, "fanpulse_drift_scores", model=NAME, version="1", task="emotion")

    await traffic.send(900)
    await traffic.settled()
    calm = await until(drift, what="a drift gauge")
    assert len(calm) == 9
    assert max(calm.values()) < 0.1
    await traffic.send(1800, lambda number: "怒¿" + sentence(number)[1:])
    await traffic.settled()
    shifted = await drift()
    assert shifted[next(series for series in shifted if 'label="anger"' in series)] > 0.25
    assert max((await metric(worker, "fanpulse_drift_labels", model=NAME, task="emotion")).values()) > 0.25
    unknown = await metric(worker, "fanpulse_unknown_tokens_ratio", model=NAME)
    by = {re.findall(r'of="(\w+)"', series)[0]: value for series, value in unknown.items()}
    assert by["reference"] == 0
    assert by["now"] > 0.03
    assert Counter(e["model"] for e in await deployment.events())[f"{NAME}/1"] == traffic.sent
