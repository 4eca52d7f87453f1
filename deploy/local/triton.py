"""A Triton Inference Server, as the nvidia-pytriton wheel carries it, in a virtual environment of its own."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import aiohttp

from deploy.local.service import Service, ServiceError

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-triton"
REPOSITORY = ROOT / "triton_models"
BACKEND = ROOT / "deploy" / "triton" / "encoder"
EXIT_TIMEOUT_S = 2  # for requests in flight; a dead stub would hold the exit for 30 s otherwise


class Triton(Service):
    """Serves the model folders of `repository` through the encoder backend, under explicit model control.

    `models` are loaded at start; without it, every model of the repository is. `arguments` go to tritonserver
    as they are; with `tls` they name the certificates. Probe and metrics have plain ports of their own.
    """

    name: ClassVar[str] = "triton"
    port_names: ClassVar[tuple[str, ...]] = ("grpc", "http", "metrics")

    def __init__(
        self,
        folder: Path,
        *,
        repository: Path = REPOSITORY,
        models: Sequence[str] = ("*",),
        ports: Mapping[str, int] | None = None,
        tls: bool = False,
        arguments: Sequence[str] = (),
        venv: Path = VENV,
        outlives_parent: bool = False,
    ) -> None:
        super().__init__(folder, ports=ports, outlives_parent=outlives_parent)
        self.repository = repository.resolve()
        self.models = list(models)
        self.tls = tls
        self.arguments = list(arguments)
        self.venv = venv
        self._backends = self.folder / "backends"

    @property
    def url(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['metrics']}/metrics"

    def command(self) -> list[str]:
        return [
            str(self._site / "pytriton/tritonserver/bin/tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self._backends}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in self.models),
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.port}",
            "--http-address=127.0.0.1",
            f"--http-port={self.ports['http']}",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={self.ports['metrics']}",
            f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
            "--log-info=false",  # so that the end of the log holds the reason of a failure
            *(["--grpc-use-ssl=true"] if self.tls else []),
            *self.arguments,
        ]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self._site),
            "LD_LIBRARY_PATH": str(self._site / "nvidia_pytriton.libs"),
        }

    async def prepare(self) -> None:
        await asyncio.to_thread(self._lay_out_backends)

    async def ready(self) -> bool:
        address = f"http://127.0.0.1:{self.ports['http']}/v2/health/ready"
        try:
            async with aiohttp.ClientSession() as session, session.get(address) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    @property
    def _site(self) -> Path:
        found = sorted(self.venv.glob("lib/python3*/site-packages/pytriton"))
        if not found:
            raise ServiceError(f"{self.venv} does not hold nvidia-pytriton: run `make setup`")
        return found[0].parent

    def _lay_out_backends(self) -> None:
        """Triton wants its python backend, the stub of our Python version and the encoder side by side."""
        server = self._site / "pytriton/tritonserver"
        shutil.rmtree(self._backends, ignore_errors=True)
        shutil.copytree(server / "backends/python", self._backends / "python")
        version = self._site.parent.name.removeprefix("python")
        stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
        Path(shutil.copy(stub, self._backends / "python")).chmod(0o755)
        shutil.copytree(BACKEND, self._backends / "encoder", ignore=shutil.ignore_patterns("__pycache__"))
