import asyncio
import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from deploy.local import Redis
from stream.client import Fanpulse
from stream.events import dumps
from stream.rolling import window_at
from tests.stream.examples import event, scores
from tests.stream.test_client import NOON, alert, settle

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def contract() -> ModuleType:
    spec = importlib.util.spec_from_file_location("contract", DOCS / "contract.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_contract_is_what_the_models_say(contract):
    for path, content in contract.files().items():
        assert path.read_text(encoding="utf-8") == content, "run `python docs/contract.py`"


def test_every_reference_in_the_asyncapi_document_leads_somewhere(contract):
    document = contract.asyncapi()

    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(document):
        if reference.startswith("#/"):
            target = document
            for part in reference[2:].split("/"):
                target = target[part]
        else:
            assert (DOCS / reference).is_file()


def test_what_is_written_fits_the_schemas():
    written = {
        "event": json.loads(dumps(event(0, scores(anger=0.9)))),
        "alert": json.loads(alert(1).model_dump_json()),
        "window": json.loads(window_at("c", "1h", NOON.timestamp(), {}, {}).model_dump_json()),
    }
    for name, instance in written.items():
        schema = json.loads((DOCS / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.validate(instance, schema)


async def test_a_consumer_in_another_language_needs_nothing_but_the_contract(redis_server: Redis):
    node = shutil.which("node")
    if node is None:
        pytest.fail("no node on PATH: the example consumer is written for Node 20")
    async with Fanpulse(redis_server.url) as fp:
        await settle(fp, 0, range(3))
        await settle(fp, 2, range(5, 300))
        address = redis_server.url.removeprefix("redis://").removesuffix("/0")
        consumer = await asyncio.create_subprocess_exec(
            node, DOCS / "examples" / "consumer.mjs", address, "node", "298",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(consumer.communicate(), 60)
        assert consumer.returncode == 0, err.decode()
        seen = [json.loads(line) for line in out.splitlines()]
        assert {one["id"] for one in seen} == {f"0/{n}" for n in range(3)} | {f"2/{n}" for n in range(5, 300)}
        assert all(one["negative"] and one["labels"] == ["anger"] for one in seen)
        for partition in (0, 2):
            (group,) = await fp.redis.xinfo_groups(fp.keys.partition("comments", partition).events)
            assert group["pending"] == 0
