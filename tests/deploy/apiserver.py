"""A real Kubernetes API server with its etcd on loopback, and no cluster: it validates, admits and refuses."""

import json
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import trustme

from deploy.local.service import Service
from tests.deploy.conftest import KUBERNETES, TOOLS
from tests.required import require

PATCH = 2  # of the release whose schemas the chart is checked by
TOKEN = "of-the-administrator"
BINARIES = TOOLS / f"kubernetes-{KUBERNETES}.{PATCH}"
Answer = tuple[int, Any, list[str]]  # status, body, warnings


def module_folder(module: str) -> Path:
    """Where Go keeps a module, which it downloads if need be."""
    return Path(json.loads(_go("mod", "download", "-json", module))["Dir"])


def build() -> None:
    """Compile kube-apiserver and etcd where they are not; a quarter of an hour on two cores.

    Kubernetes' go.mod replaces some modules by folders that its own module leaves out, so `go install` refuses it.
    They are released under the same minor version, v0 for v1: a go.mod that names those takes its place.
    """
    if (BINARIES / "etcd").exists():
        return
    require("go")
    kubernetes = module_folder(f"k8s.io/kubernetes@v{KUBERNETES}.{PATCH}")
    BINARIES.mkdir(parents=True, exist_ok=True)
    released = rf"=> \1 v0.{KUBERNETES.partition('.')[2]}.{PATCH}"
    requirements = (kubernetes / "go.mod").read_text()
    (BINARIES / "go.mod").write_text(re.sub(r"=> \./staging/src/(\S+)", released, requirements))
    shutil.copyfile(kubernetes / "go.sum", BINARIES / "go.sum")
    by = ["-mod=mod", f"-modfile={BINARIES / 'go.mod'}"]
    _go(
        "build",
        *by,
        "-o",
        f"{BINARIES}/",
        "./cmd/kube-apiserver",
        "go.etcd.io/etcd/server/v3",
        folder=kubernetes,
    )
    (BINARIES / "server").rename(BINARIES / "etcd")


def _go(*arguments: str, folder: Path | None = None) -> str:
    environment = {**os.environ, "GOWORK": "off"}
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Etcd(Service):
    """Where the API server keeps what is not a dry run."""

    name: ClassVar[str] = "etcd"
    port_names: ClassVar[tuple[str, ...]] = ("clients", "peers")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        peers = f"http://127.0.0.1:{self.ports['peers']}"
        return [
            str(BINARIES / "etcd"),
            "--data-dir=data",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ]

    async def prepare(self) -> None:
        pass

    async def ready(self) -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/health") as answer:
            return answer.status == 200


class ApiServer(Service):
    """Speaks for an administrator, who passes every authorization and no admission."""

    name: ClassVar[str] = "kube-apiserver"
    port_names: ClassVar[tuple[str, ...]] = ("https",)

    def __init__(self, folder: Path, etcd: Etcd) -> None:
        super().__init__(folder)
        self._etcd = etcd
        self._authority = trustme.CA()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            str(BINARIES / "kube-apiserver"),
            f"--etcd-servers={self._etcd.url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port}",
            "--tls-cert-file=tls.crt",
            "--tls-private-key-file=tls.key",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=tls.key",
            "--service-account-signing-key-file=tls.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",  # it misses accounts that a dry run did not make
        ]

    async def prepare(self) -> None:
        certificate = self._authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")
        certificate.private_key_pem.write_to_path(self.folder / "tls.key")
        (self.folder / "tokens.csv").write_text(f"{TOKEN},administrator,1,system:masters\n")

    async def ready(self) -> bool:
        return (await self.ask("GET", "/readyz"))[0] == 200

    async def ask(self, method: str, path: str, body: str = "", **parameters: str) -> Answer:
        """One request, its body in YAML, of which JSON is a part. A PATCH is a server-side apply."""
        trusting = ssl.create_default_context()
        self._authority.configure_trust(trusting)
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/yaml"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        async with (
            aiohttp.ClientSession(
                self.url, headers=headers, connector=aiohttp.TCPConnector(ssl=trusting)
            ) as session,
            session.request(method, path, params=parameters, data=body or None) as answer,
        ):
            said = await answer.text()
            plain = answer.content_type != "application/json"
            return answer.status, said if plain else json.loads(said), answer.headers.getall("Warning", [])
