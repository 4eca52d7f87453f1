"""Runs rendered pods as processes of this machine: variables, Secrets, mounts and probes as a kubelet has them.

Each pod has a loopback address of its own. Images, limits and restarts are not its business.
"""

import asyncio
import random
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.stream.deployment import PATIENCE_S, until


@dataclass
class Pod:
    """A pod's one container, running."""

    address: str
    container: Mapping[str, Any]
    process: Process
    log: Path

    async def ready(self) -> None:
        """Wait until its readiness probe succeeds."""
        probe = self.container["readinessProbe"]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        url = f"http://{self.address}:{ports[probe['port']]}{probe['path']}"

        async def succeeds() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            try:
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await until(succeeds, what=f"{url} to answer")

    async def ended(self) -> int:
        """Wait for its end; return its exit code."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)

    async def stop(self) -> int:
        """SIGTERM; return its exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.ended()


@dataclass
class Kubelet:
    """`secrets` are what the cluster holds; `names` says where a host and port of the cluster is found here."""

    folder: Path
    secrets: Mapping[str, Mapping[str, str]]
    names: Mapping[str, str]
    pods: dict[str, Pod] = field(default_factory=dict)

    async def run(self, name: str, spec: Mapping[str, Any]) -> Pod:
        """Start a pod of our own image."""
        (container,) = spec["containers"]
        address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])
        here = self._mounted(name, spec)
        environment = {
            entry["name"]: self._here(self._value(entry), address, here) for entry in container["env"]
        }
        for source in container.get("envFrom", ()):
            environment |= self.secrets[source["secretRef"]["name"]]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stream"),
                *(self._here(argument, address, here) for argument in container["args"]),
                env=environment,  # a container inherits nothing
                stdout=output,
                stderr=output,
            )
        self.pods[name] = Pod(address, container, process, log)
        return self.pods[name]

    def arguments(self, name: str, spec: Mapping[str, Any]) -> list[str]:
        """What a container of another image is started with; its Secrets are laid out."""
        here = self._mounted(name, spec)
        return [self._here(argument, "", here) for argument in spec["containers"][0]["args"]]

    async def stop(self) -> dict[str, int]:
        """Stop all pods; return their exit codes."""
        return {name: await pod.stop() for name, pod in self.pods.items()}

    def _value(self, entry: Mapping[str, Any]) -> str:
        if "value" in entry:
            return str(entry["value"])
        reference = entry["valueFrom"]["secretKeyRef"]
        return self.secrets[reference["name"]][reference["key"]]

    def _mounted(self, pod: str, spec: Mapping[str, Any]) -> dict[str, str]:
        """Write the Secrets that a pod mounts; return where each mount path is here."""
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        here: dict[str, str] = {}
        for mount in spec["containers"][0]["volumeMounts"]:
            secret = volumes[mount["name"]].get("secret")
            if secret is None:
                continue
            place = self.folder / pod / mount["name"]
            place.mkdir(parents=True)
            for item in secret["items"]:
                (place / item["path"]).write_text(self.secrets[secret["secretName"]][item["key"]])
            here[mount["mountPath"]] = str(place)
        return here

    def _here(self, text: str, address: str, mounted: Mapping[str, str]) -> str:
        if text == "0.0.0.0":
            return address
        for there, place in {**mounted, **self.names}.items():
            text = text.replace(there, place)
        return text
