"""Draws the Grafana dashboards from a real Prometheus that watched the embedded stack for some eventful minutes.

python -m docs.dashboards [SECONDS]

An invented story is told while one version of a model takes the place of another, Redis forgets a partition and
Triton dies. "Yesterday" was as the models' references are.
"""

import asyncio
import itertools
import json
import math
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from playwright.async_api import Route, async_playwright

from deploy.dashboards.dashboards import rendered
from deploy.local import Kafka, Redis, Triton
from deploy.local.ports import free_port
from deploy.local.triton import REPOSITORY
from stream.board.assets import echarts_folder
from stream.storyline import COMMUNITIES, Turn, storyline
from tests.deploy.prometheus import Prometheus
from tests.stream.deployment import Deployment, deployed, until

HERE = Path(__file__).parent
ADDRESS = "http://dashboards/"  # answered from files
PARTITIONS = 4
RATE = 10.0  # comments a second and community
BAD_EVERY = 100  # comments
POINTS = 200  # of a line
PATIENCE_S = 600.0  # with a machine that has other work
MODELS = {"zh": "emotion_zh", "en": "emotion_en"}
BEFORE, AFTER = "3", "4"  # versions of emotion_zh
CHOSEN = {"$model": "emotion_zh", "$task": "emotion", "$label": "anger", "$__rate_interval": "20s"}


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with (
            Kafka(folder / "kafka") as kafka,
            Redis(folder / "redis") as redis,
            Triton(folder / "triton") as triton,
            deployed(
                kafka, redis, triton, folder, partitions=PARTITIONS, models=json.dumps(MODELS)
            ) as deployment,
        ):
            ports = [free_port(), free_port()]
            targets = [*(f"127.0.0.1:{port}" for port in ports), triton.metrics_url.split("/")[2]]
            async with Prometheus(folder / "prometheus", targets, dict(_yesterday()), "5s") as prometheus:
                await _release(deployment, "promote", BEFORE)
                first = await deployment.worker(web_port=ports[0])
                await until(first.address, within_s=PATIENCE_S)
                started = time.time()
                async with asyncio.TaskGroup() as group:
                    group.create_task(_tell(deployment, seconds))
                    group.create_task(_happen(deployment, ports[1], seconds))
                await _draw(prometheus, started, time.time())


def _yesterday() -> Iterator[tuple[str, float]]:
    for path in REPOSITORY.glob("*/*/reference.json"):
        often = {
            label: known["carried"]
            for label, known in orjson.loads(path.read_bytes())["tasks"]["emotion"].items()
        }
        for label, carried in often.items():
            labels = f'model="{path.parts[-3]}",version="{path.parts[-2]}",label="{label}"'
            yield f"fanpulse:label_share:rate1h{{{labels}}}", carried / sum(often.values())


async def _tell(deployment: Deployment, seconds: float) -> None:
    """The communities' comments at their own pace, one of which turns; now and then a record that is none."""
    now = time.time()
    turn = Turn("souring", COMMUNITIES[0], now + 0.45 * seconds, seconds)
    bad = itertools.cycle([{"text": " "}, {"lang": "fr"}, {"created_at": 0}, {"community": None}])
    told = storyline(7, COMMUNITIES, now, seconds, RATE, [turn])
    for number, (comment, _) in enumerate(told):
        await asyncio.sleep(max(0.0, comment["created_at"] / 1000 - time.time()))
        spoilt = next(bad) if number % BAD_EVERY == 0 else {}
        await deployment.send([orjson.dumps(comment | spoilt)], number % PARTITIONS)


async def _happen(deployment: Deployment, port: int, seconds: float) -> None:
    """What befalls the deployment, each at its share of the time."""
    started = time.time()

    async def at(share: float) -> None:
        await asyncio.sleep(started + share * seconds - time.time())

    await at(0.10)
    forgotten = deployment.client.scan_iter(match=f"{deployment.keys.partition(deployment.topic, 0).root}*")
    await deployment.client.unlink(*[key async for key in forgotten])
    await at(0.18)
    second = await deployment.worker(web_port=port)
    await at(0.25)
    await _release(deployment, "shadow", AFTER)
    await at(0.40)
    await _release(deployment, "promote", AFTER, "--canary", "0.1")
    await at(0.55)
    await deployment.triton.kill()
    await at(0.58)
    await deployment.triton.start()
    await at(0.72)
    await _release(deployment, "promote", AFTER)
    await at(0.88)
    await second.stop()


async def _release(deployment: Deployment, verb: str, *arguments: str) -> None:
    command = await deployment.worker(module=("stream", "models", verb, CHOSEN["$model"], *arguments))
    assert await command.process.wait() == 0, command.log.read_text()


async def _draw(prometheus: Prometheus, since: float, end: float) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page(viewport={"width": 1280, "height": 100}, timezone_id="Asia/Shanghai")
        await page.route(f"{ADDRESS}**", _answer)
        for path, content in rendered().items():
            dashboard = json.loads(content)
            for panel in dashboard["panels"]:
                panel["title"] = _chosen(panel["title"])
                asked = [_lines(prometheus, target, since, end) for target in panel["targets"]]
                panel["lines"] = list(itertools.chain(*await asyncio.gather(*asked)))
                if not any(value is not None for line in panel["lines"] for _, value in line["points"]):
                    print(f"no data: {dashboard['title']}, {panel['title']}")
            variables = [f"${variable['name']}" for variable in dashboard["templating"]["list"]]
            dashboard["chosen"] = {name: CHOSEN[name] for name in variables if name in CHOSEN}
            await page.goto(f"{ADDRESS}dashboards.html")
            await page.evaluate("dashboard => draw(dashboard)", dashboard)
            await page.screenshot(path=HERE / "images" / f"dashboard-{path.stem}.png", full_page=True)
        await browser.close()


async def _answer(route: Route) -> None:
    name = route.request.url.removeprefix(ADDRESS)
    await route.fulfill(path=(HERE if name.endswith(".html") else echarts_folder()) / name)


async def _lines(
    prometheus: Prometheus, target: dict[str, Any], since: float, end: float
) -> list[dict[str, Any]]:
    """A query's series: name, labels and points as (epoch ms, value or None where there is none)."""
    step = (end - since) / POINTS
    query = _chosen(target["expr"])
    found = await prometheus.ask("query_range", query=query, start=f"{since}", end=f"{end}", step=f"{step}")
    legend = target["legendFormat"].replace("{{", "{").replace("}}", "}")
    lines = []
    for series in found["result"]:
        values = {
            round((at - since) / step): float(value)
            for at, value in series["values"]
            if math.isfinite(float(value))
        }
        points = [((since + place * step) * 1000, values.get(place)) for place in range(POINTS + 1)]
        lines.append({"name": legend.format_map(defaultdict(str, series["metric"])), "points": points})
    return lines


def _chosen(text: str) -> str:
    for variable, value in CHOSEN.items():
        text = text.replace(variable, value)
    return text


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0))
