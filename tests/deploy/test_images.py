"""The images are built from their Dockerfiles, and what they start is started."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import tenacity

from deploy.local import Kafka, Redis, Triton
from deploy.local.ports import free_port
from tests.deploy.images import DOCKERFILES, ROOT, Buildah, installed_bytes
from tests.required import require
from tests.stream.deployment import comment, deployed

LIMIT_BYTES = 300_000_000
CONFIGS = sorted((ROOT / "triton_models").glob("*/config.pbtxt"))
ML_LIBRARIES = {
    "torch",
    "transformers",
    "tokenizers",
    "onnxruntime",
    "scikit_learn",
    "tensorflow",
    "sentencepiece",
}


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    require("buildah", "mmdebstrap")
    store = Buildah(tmp_path_factory.mktemp("images"))
    store.make_base()
    yield store
    store.remove()


@pytest.fixture(scope="module")
def worker(buildah: Buildah) -> Iterator[tuple[str, Path]]:
    buildah.build("worker")
    with buildah.container("worker") as container:
        yield container


@pytest.mark.parametrize("dockerfile", sorted(DOCKERFILES.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_a_dockerfile_passes_hadolint(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, dockerfile], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(1200)  # the first to use an image builds it
def test_the_worker_image_is_slim_and_holds_no_ml_library(worker: tuple[str, Path]) -> None:
    _, root = worker
    packages = {path.name for path in root.glob("opt/fanpulse/lib/python3*/site-packages/*")}
    assert "stream" in packages
    assert not packages & (ML_LIBRARIES | {"pip", "uv", "setuptools", "pytest"})
    assert installed_bytes(root) < LIMIT_BYTES


def test_the_worker_image_holds_every_file_of_the_package(worker: tuple[str, Path]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "stream"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = set(listed.stdout.split())
    (site,) = worker[1].glob("opt/fanpulse/lib/python3*/site-packages")
    assert {path for path in tracked if not (site / path).is_file()} == set()


def test_the_worker_image_runs_as_nobody_who_can_write_to_it(
    buildah: Buildah, worker: tuple[str, Path]
) -> None:
    container, _ = worker
    assert buildah.run(container, "id", "--user") == "10001"
    search = "find / -xdev -type d -writable -not -path '/proc/*' 2>/dev/null || true"
    writable = set(buildah.run(container, "sh", "-c", search).split())
    assert writable <= {"/tmp", "/var/tmp", "/run/lock", "/dev/shm", "/dev/mqueue"}


def test_the_worker_image_says_what_it_is_and_what_it_holds(
    buildah: Buildah, worker: tuple[str, Path]
) -> None:
    _, root = worker
    image = json.loads(buildah("inspect", "--type", "image", "localhost/worker"))["OCIv1"]
    assert {"title", "version", "revision", "licenses"} <= {
        label.rpartition(".")[2] for label in image["config"]["Labels"]
    }
    components = json.loads((root / "opt/fanpulse/sbom.cdx.json").read_text())["components"]
    held = {
        f"{part['name'].replace('_', '-')}=={part['version']}".lower()
        for part in components
        if part["name"] != "fanpulse"
    }
    locked = set(re.findall(r"^\S+==\S+", (ROOT / "requirements/worker.txt").read_text(), re.MULTILINE))
    assert held
    assert held <= locked


def test_the_worker_image_refuses_to_start_with_the_public_pseudonym_key(
    buildah: Buildah, worker: tuple[str, Path]
) -> None:
    said = buildah.run(worker[0], "sh", "-c", "fanpulse worker 2>&1 || true")
    assert "FANPULSE_PSEUDONYM_KEY must be set in production" in said


async def test_the_worker_image_settles_comments(
    buildah: Buildah, worker: tuple[str, Path], kafka: Kafka, valkey: Redis, triton: Triton, tmp_path: Path
) -> None:
    port = free_port()
    async with deployed(kafka, valkey, triton, tmp_path, pseudonym_key="of-this-test-alone") as deployment:
        await deployment.send([comment(number) for number in range(10)])
        options = [f"--env={name}={value}" for name, value in deployment.environment(web_port=port).items()]
        with buildah.running(worker[0], "fanpulse", "worker", options=options):
            await deployment.settled(10)
            assert len(await deployment.events()) == 10
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                assert (await session.get("/ready")).status == 200


async def test_the_worker_image_also_serves_the_board(
    buildah: Buildah, worker: tuple[str, Path], valkey: Redis
) -> None:
    port = free_port()
    settings = {"REDIS_URL": valkey.url, "BOARD_PORT": port, "PSEUDONYM_KEY": "of-this-test-alone"}
    options = [f"--env=FANPULSE_{name}={value}" for name, value in settings.items()]
    with buildah.running(worker[0], "fanpulse", "board", options=options):
        assert await _page(f"http://127.0.0.1:{port}/ready") == "ready\n"
        assert "<script" in await _page(f"http://127.0.0.1:{port}/")


def test_the_worker_image_brings_rules_for_the_alerts(buildah: Buildah, worker: tuple[str, Path]) -> None:
    variable = "--env=FANPULSE_PSEUDONYM_KEY=of-this-test-alone"
    assert buildah("run", variable, worker[0], "--", "fanpulse", "alerts", "check")


@pytest.mark.timeout(1200)
async def test_the_cpu_image_serves_its_models_with_our_backend(buildah: Buildah) -> None:
    buildah.build("triton-cpu")
    image = json.loads(buildah("inspect", "--type", "image", "localhost/triton-cpu"))["OCIv1"]["config"]
    port = free_port()
    arguments = [*image["Entrypoint"], *image["Cmd"], "--allow-grpc=false", "--allow-metrics=false"]
    with (
        buildah.container("triton-cpu") as (container, _),
        buildah.running(container, *arguments, f"--http-port={port}"),
    ):
        assert await _loaded_models(port) == {path.parent.name for path in CONFIGS}


_patiently = tenacity.retry(
    retry=tenacity.retry_if_exception_type(aiohttp.ClientError),
    wait=tenacity.wait_fixed(0.5),
    stop=tenacity.stop_after_delay(120),
)


@_patiently
async def _page(url: str) -> str:
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(url) as answer:
        return await answer.text()


@_patiently
async def _loaded_models(port: int) -> set[str]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", raise_for_status=True) as session:
        async with session.get("/v2/health/ready"):
            pass
        async with session.post("/v2/repository/index", json={"ready": True}) as index:
            return {model["name"] for model in await index.json(content_type=None)}


def test_the_gpu_image_finds_wheels_for_its_python_in_the_lock(tmp_path: Path) -> None:
    lock = ROOT / "requirements/triton-gpu.txt"
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    wanted = [
        "--python-version=3.12",
        "--python-platform=x86_64-manylinux_2_39",
        "--no-build",
        "--require-hashes",
    ]
    target = ["--dry-run", f"--target={tmp_path}", f"--requirement={lock}"]
    done = subprocess.run(
        [Path(sys.executable).parent / "uv", "pip", "install", *wanted, *target],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "onnxruntime-gpu" in done.stderr


def test_the_gpu_image_turns_every_model_to_the_gpu(tmp_path: Path) -> None:
    dockerfile = (DOCKERFILES / "triton.Dockerfile").read_text()
    step = re.search(r"^RUN (sed .*) /models/\*/config.pbtxt$", dockerfile, re.MULTILINE)
    assert step
    for config in CONFIGS:
        copy = shutil.copy(config, tmp_path)
        subprocess.run([*shlex.split(step[1]), copy], check=True)
        assert "KIND_GPU" in Path(copy).read_text()
        assert "KIND_CPU" not in Path(copy).read_text()
