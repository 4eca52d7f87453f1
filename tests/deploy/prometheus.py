"""Debian's Prometheus as a service: it scrapes what it is told and evaluates this repository's rules."""

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import orjson

from deploy.local.service import Service

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "fanpulse.rules.yaml"


class Prometheus(Service):
    """`targets` are addresses; `yesterday` gives series the value they had a day ago; `every` is how often it looks."""

    name: ClassVar[str] = "prometheus"
    port_names: ClassVar[tuple[str, ...]] = ("http",)

    def __init__(
        self, folder: Path, targets: Sequence[str], yesterday: Mapping[str, float], every: str = "1s"
    ) -> None:
        super().__init__(folder)
        self._every = every
        self._targets = targets
        self._yesterday = yesterday

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        return ["prometheus", "--config.file=prometheus.json", "--storage.tsdb.path=data", listen]

    async def prepare(self) -> None:
        config = {
            "global": {"scrape_interval": self._every, "evaluation_interval": self._every},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "fanpulse", "static_configs": [{"targets": list(self._targets)}]}
            ],
        }
        (self.folder / "prometheus.json").write_bytes(orjson.dumps(config))
        await asyncio.to_thread(self._backfill)

    def _backfill(self) -> None:
        """Write samples for half an hour before and after this time yesterday."""
        middle = int(time.time()) - 86_400
        samples = [
            f"{series} {value} {at}\n"
            for series, value in self._yesterday.items()
            for at in range(middle - 1800, middle + 1800, 30)
        ]
        past = self.folder / "yesterday.txt"
        past.write_text("".join(samples) + "# EOF\n")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", past, self.folder / "data"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ)

    async def ready(self) -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/-/ready") as answer:
            return answer.status == 200

    async def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the HTTP API."""
        address = f"{self.url}/api/v1/{path}"
        async with aiohttp.ClientSession() as session, session.get(address, params=parameters) as answer:
            body = await answer.json()
            assert body["status"] == "success", body
            return body["data"]

    async def values(self, query: str) -> list[float]:
        """What an instant query gives now, one number a series."""
        data = await self.ask("query", query=query)
        return [float(series["value"][1]) for series in data["result"]]
