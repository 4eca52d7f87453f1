"""The server around the backend: metrics, restarts, models that do not load."""

from pathlib import Path

import aiohttp
import pytest

from deploy.local import ServiceError, Triton
from deploy.local.service import alive
from tests import tiny_model


async def test_metrics_are_served_beside_the_model(triton: Triton) -> None:
    async with aiohttp.ClientSession() as session, session.get(triton.metrics_url) as answer:
        assert f'model="{tiny_model.NAME}"' in await answer.text()


async def test_a_killed_server_leaves_no_stub_and_comes_back_at_its_address(tmp_path: Path) -> None:
    tiny_model.write(tmp_path / "models")
    async with Triton(tmp_path / "triton", repository=tmp_path / "models") as server:
        assert server.process is not None
        stubs = server.process.children(recursive=True)
        assert stubs
        url = server.url
        await server.kill()
        assert not any(alive(stub) for stub in stubs)
        await server.start()
        assert server.url == url
        assert await server.answers()


async def test_a_model_that_does_not_load_is_reported_with_the_reason(tmp_path: Path) -> None:
    folder = tiny_model.write(tmp_path / "models")
    (folder / "1" / "tokenizer.json").unlink()
    with pytest.raises(ServiceError, match=r"(?s)triton ended before it was ready.*tiny_zh"):
        await Triton(tmp_path / "triton", repository=tmp_path / "models").start()


async def test_only_the_models_named_are_loaded(tmp_path: Path) -> None:
    tiny_model.write(tmp_path / "models", name="wanted")
    broken = tiny_model.write(tmp_path / "models", name="unwanted")
    (broken / "1" / "model.onnx").unlink()
    async with Triton(tmp_path / "triton", repository=tmp_path / "models", models=["wanted"]) as server:
        assert await server.answers()


async def test_an_environment_without_triton_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="does not hold nvidia-pytriton: run `make setup`"):
        await Triton(tmp_path, venv=tmp_path / ".venv").start()
