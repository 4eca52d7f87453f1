"""Dashboards, rules and runbook hold against a live worker, scraped by a real Prometheus."""

import asyncio
import itertools
import json
import math
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.dashboards.dashboards import rendered
from deploy.local import Kafka, Redis, Triton
from deploy.local.ports import free_port
from stream import references
from stream.releases import Canary, Release
from stream.scorer import Scorer
from stream.settings import Settings
from tests import tiny_model
from tests.deploy.conftest import ROOT
from tests.deploy.prometheus import RULES, Prometheus
from tests.required import require
from tests.stream.deployment import Deployment, comment, deployed, until

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
DASHBOARDS = {path.stem: json.loads(content) for path, content in rendered().items()}
QUERIES = {
    f"{name}: {panel['title']} {target['refId']}": target["expr"]
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel["targets"]
}
MODEL = "watched_zh"
CHOSEN = {"$model": MODEL, "$task": "emotion", "$label": "anger", "$__rate_interval": "1m"}
LETTERS = str.maketrans("01", "ab")


@pytest.fixture(scope="module")
async def prometheus(
    kafka: Kafka, valkey: Redis, triton: Triton, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Prometheus]:
    """Scrapes a worker that has good days and bad ones, a canary and a shadow, and its Triton."""
    require("prometheus", "promtool")
    folder = tmp_path_factory.mktemp("monitoring")
    share = 'fanpulse:label_share:rate1h{model="%s",version="1",label="%s"}'
    yesterday = {share % (MODEL, label): 1 / 9 for label in tiny_model.MARKS}
    await _watched_model(triton, folder)
    models = json.dumps({"zh": MODEL})
    async with deployed(kafka, valkey, triton, folder, redis_timeout_s=0.5, models=models) as deployment:
        port = free_port()
        await deployment.worker(web_port=port)
        life = asyncio.create_task(_live(deployment))
        targets = [f"127.0.0.1:{port}", triton.metrics_url.split("/")[2]]
        async with Prometheus(folder, targets, yesterday) as server:
            yield server
        life.cancel()


async def _watched_model(triton: Triton, folder: Path) -> None:
    """A model of two versions, the first of which has a reference."""
    repository = tiny_model.write(triton.repository, name=MODEL, versions=(1, 2), serve=1)
    texts = [f"{mark}{number}" for mark in tiny_model.MARKS.values() for number in range(20)]
    (folder / "texts.csv").write_text("\n".join(["text", *texts]))
    scorer = Scorer.of(Settings(triton_url=triton.url))
    await scorer.reload(MODEL)
    measured = await references.measure(scorer, await scorer.load(MODEL), folder / "texts.csv", "text", 1000)
    references.keep(repository, "1", measured)
    await scorer.reload(MODEL)
    await scorer.close()


async def _live(deployment: Deployment) -> None:
    """Comments of every emotion, repeats, records that cannot be read, a slow Redis and one that forgets."""
    for number in itertools.count():
        texts = [f"{mark}{number:b}".translate(LETTERS) for mark in tiny_model.MARKS.values()]
        values = [comment(number * 100 + i, text) for i, text in enumerate([*texts, *texts, "@ada"])]
        await deployment.send([*values, b"not json", None])
        if number % 10 == 5:
            await deployment.client.client_pause(1000)
        if number % 20 == 15:
            await deployment.client.flushall()
        # The only partition stays with the version served; the canary's role is seen all the same.
        release = Release(canary=Canary("2", 0.0), shadow="2")
        await deployment.client.hset(deployment.keys.models, mapping=release.fields(MODEL))
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("title", QUERIES)
async def test_every_panel_shows_data(prometheus: Prometheus, title: str) -> None:
    query = QUERIES[title]
    for variable, value in CHOSEN.items():
        query = query.replace(variable, value)

    async def has_data() -> bool:
        return any(math.isfinite(value) for value in await prometheus.values(query))

    await until(has_data, within_s=120, what=query)


async def test_every_variable_of_a_dashboard_has_values(prometheus: Prometheus) -> None:
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            wanted = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert wanted
            series = wanted[1].replace("$model", MODEL).replace("$task", "emotion")
            label, value = wanted[2], CHOSEN[f"${variable['name']}"]

            async def offered(label: str = label, series: str = series, value: str = value) -> bool:
                return value in await prometheus.ask(f"label/{label}/values", **{"match[]": series})

            await until(offered, what=f"{label} {value} of {series}")


async def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    async def evaluated() -> list[Any]:
        groups = (await prometheus.ask("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = await until(evaluated)
    assert len(rules) == sum(len(group["rules"]) for group in GROUPS)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


async def test_metrics_are_named_as_prometheus_wants_them(prometheus: Prometheus) -> None:
    async def exported() -> dict[str, Any]:
        metadata = await prometheus.ask("metadata")
        ours = {name: kinds[0] for name, kinds in metadata.items() if name.startswith("fanpulse_")}
        return ours if len(ours) > 10 else {}

    ours = await until(exported, what="metrics of a worker")
    for name, kind in ours.items():
        assert kind["help"], name
        assert name.endswith("_total") == (kind["type"] == "counter"), name
        assert not re.search(r"_(ms|milliseconds|minutes|kb|percent)(_|$)", name), name


def test_the_dashboards_are_those_that_the_code_writes() -> None:
    for path, content in rendered().items():
        assert path.read_text() == content, "run python deploy/dashboards/dashboards.py"


def test_alerts_fire_when_they_should_and_only_then() -> None:
    require("promtool")
    tests = RULES.with_name("fanpulse.tests.yaml")
    done = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_alert_is_seen_firing_and_seen_silent_by_a_unit_test() -> None:
    cases = yaml.safe_load(RULES.with_name("fanpulse.tests.yaml").read_text())["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == names
    assert {check["alertname"] for check in checks if not check.get("exp_alerts")} == names


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_its_page_in_the_runbook(rule: Any) -> None:
    pages = re.split(r"^### ", (ROOT / "deploy" / "RUNBOOK.md").read_text(), flags=re.MULTILINE)
    anchors = {page.partition("\n")[0].strip().lower(): page for page in pages[1:]}
    name = rule["alert"]
    assert rule["annotations"]["runbook"] == f"RUNBOOK.md#{name.lower()}"
    assert name.lower() in anchors
    for part in ("Meaning", "First look", "Remedy"):
        assert f"**{part}**" in anchors[name.lower()], f"{name} has no {part}"


def test_the_runbook_has_no_page_for_an_alert_that_is_gone() -> None:
    pages = set(re.findall(r"^### (Fanpulse\w+)", (ROOT / "deploy" / "RUNBOOK.md").read_text(), re.MULTILINE))
    assert pages == {rule["alert"] for rule in ALERTS}
