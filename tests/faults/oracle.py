"""What a text's scores are when Triton is asked for it alone, and what follows from them."""

import json
from math import prod
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

TOLERANCE = 1e-4  # by which a text's scores may depend on its neighbours in a batch

Task = dict[str, Any]
"""kind, labels, negative, thresholds: a task as the model's config declares it."""


class Oracle:
    """Asks the Triton at `address`; each distinct text once a model."""

    def __init__(self, address: str) -> None:
        self._client = triton.InferenceServerClient(address)
        self._tasks: dict[str, dict[str, Task]] = {}
        self._scores: dict[tuple[str, str], dict[str, list[float]]] = {}

    async def close(self) -> None:
        await self._client.close()

    async def tasks(self, model: str) -> dict[str, Task]:
        """The tasks of `model` (name/version), by name."""
        if model not in self._tasks:
            name, _, version = model.partition("/")
            answer = await self._client.get_model_config(name, as_json=True)
            parameters = answer["config"]["parameters"]
            self._tasks[model] = {
                key.partition("@")[0]: json.loads(value["string_value"])
                for key, value in parameters.items()
                if key.endswith(f"@{version}") and key.partition("@")[0] not in ("embedding", "reference")
            }
        return self._tasks[model]

    async def scores(self, model: str, text: str) -> dict[str, list[float]]:
        """Task → probability of each label."""
        if (model, text) not in self._scores:
            name, _, version = model.partition("/")
            question = triton.InferInput("text", [1, 1], "BYTES")
            question.set_data_from_numpy(np.array([[text.encode()]], dtype=np.object_))
            answer = await self._client.infer(name, [question], model_version=version)
            self._scores[model, text] = {
                task: answer.as_numpy(task)[0].tolist() for task in await self.tasks(model)
            }
        return self._scores[model, text]


def carried(task: Task, scores: list[float]) -> list[str]:
    """The labels that these scores carry."""
    labels: list[str] = task["labels"]
    if task["kind"] == "multiclass":
        return [labels[scores.index(max(scores))]]
    judged = zip(labels, scores, task["thresholds"], strict=True)
    return [label for label, score, threshold in judged if score >= threshold]


def negativity(task: Task, scores: list[float]) -> float:
    """Probability of at least one negative label."""
    negative = [s for label, s in zip(task["labels"], scores, strict=True) if label in task["negative"]]
    if task["kind"] == "multiclass":
        return min(1.0, sum(negative))
    return 1 - prod(1 - score for score in negative)
