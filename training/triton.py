"""The Triton config of a model folder, written from what each version's metrics.json declares."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.checkpoint import Checkpoint


def declaration(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a reader of the config must know about one version: its tasks and the embedding's length."""
    tasks: dict[str, dict[str, Any]] = {}
    for key, task in checkpoint.recipe.heads.items():
        tasks[task.name] = {"kind": task.kind, "labels": list(task.labels), "negative": list(task.negative)}
        if task.kind == "multilabel":
            tasks[task.name]["thresholds"] = checkpoint.thresholds[key]
    return {"tasks": tasks, "embedding": {"dim": checkpoint.recipe.encoder.embedding}}


def versions(model: Path) -> dict[int, dict[str, Any]]:
    """The declarations of the versions that stand in a model folder, with the reference of those that have one."""
    return {
        int(file.parent.name): json.loads(file.read_text(encoding="utf-8")) | _reference(file.parent)
        for file in model.glob("*/metrics.json")
        if file.parent.name.isdigit()
    }


def _reference(folder: Path) -> dict[str, Any]:
    file = folder / "reference.json"
    return {"reference": json.loads(file.read_text(encoding="utf-8"))} if file.exists() else {}


def config(
    declared: Mapping[int, Mapping[str, Any]], *, serve: int, languages: tuple[str, ...], queue_delay_us: int
) -> str:
    """The text of config.pbtxt; `serve` is the version that callers use by default."""
    tasks = declared[serve]["tasks"]
    parameters = {"version": str(serve), "languages": ",".join(languages)}
    for version, what in sorted(declared.items()):
        for name, task in what["tasks"].items():
            parameters[f"{name}@{version}"] = json.dumps(task)
        for name in ("embedding", "reference"):
            if name in what:
                parameters[f"{name}@{version}"] = json.dumps(what[name])
    outputs = {name: len(task["labels"]) for name, task in tasks.items()}
    dims = {what["embedding"]["dim"] for what in declared.values()}
    outputs["embedding"] = dims.pop() if len(dims) == 1 else -1
    outputs["unknown"] = 1  # the backend's own: the share of a text's tokens that the tokenizer does not know
    return "\n".join(
        [
            'backend: "encoder"',
            "max_batch_size: 1024",
            'input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]',
            "output [",
            ",\n".join(
                f'  {{ name: "{name}" data_type: TYPE_FP32 dims: [ {width} ] }}'
                for name, width in outputs.items()
            ),
            "]",
            f"dynamic_batching {{ max_queue_delay_microseconds: {queue_delay_us} }}",
            "version_policy { all {} }",
            "instance_group [ { kind: KIND_CPU count: 1 } ]",
            *(
                f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
                for key, value in parameters.items()
            ),
            "",
        ]
    )
