"""The smoke batch: what a version must do, on the Triton that will serve it, before a comment is given to it."""

import numpy as np
from numpy.typing import NDArray

from stream.errors import FanpulseError, SmokeFailed
from stream.model import EMBEDDING, Model, Task
from stream.scorer import Scorer

TOLERANCE = 1e-4
TEXTS = (
    "哦",
    "今晚的返场太值了，第二首一响全场都在跟着唱",
    "排了四个小时的队，最后说名额没了，气得手都在抖",
    "他说会回来的，可是舞台上再也没有他的位置，我哭到天亮",
    "新歌什么时候上线呀，天天在数日子",
    "这个造型……怎么说呢，出乎意料",
    "Best night of my life, I would do it all again!",
    "they cancelled it an hour before the doors opened, I am furious",
    "ok",
    "演唱会 vlog 剪好啦 part 2 coming soon 😭😭😭",
    "😀🎉",
    "？？？！！",
    "2026",
    "[doge][允悲]",
    "应援口号再喊一遍，" * 300,
    "encore " * 200,
)


async def passed(scorer: Scorer, name: str, version: str, promised: Model | None = None) -> Model:
    """Version `version` of the model `name`, once it has done all that its config says.

    With `promised`, the version that is served, it must also say the same labels in the same tasks.

    Raises SmokeFailed naming what failed, ConfigurationError where Triton's config does not describe the version,
    Unavailable where Triton does not tell it.
    """
    model = await scorer.describe(name, version)
    try:
        if promised is not None:
            _same_promise(model, promised)
        together = await scorer.outputs(model, TEXTS)
        for task in model.tasks:
            _check_task(task, _shaped(together, task.name, len(task.labels)))
        if model.embedding is not None:
            _check_unit_length(_shaped(together, EMBEDDING, model.embedding))
        for position, text in enumerate(TEXTS):
            _check_alone(await scorer.outputs(model, [text]), together, position)
    except FanpulseError as error:
        raise SmokeFailed(f"{model} fails its smoke batch: {error}") from error
    return model


def _same_promise(model: Model, promised: Model) -> None:
    if lost := set(promised.languages).difference(model.languages):
        raise SmokeFailed(f"it does not know {', '.join(sorted(lost))}, as {promised} does")
    theirs = {task.name: task for task in promised.tasks}
    ours = {task.name: task for task in model.tasks}
    if lost := theirs.keys() - ours.keys():
        raise SmokeFailed(f"it has no task {', '.join(sorted(lost))}, as {promised} has")
    for name, task in theirs.items():
        other = ours[name]
        for what in ("labels", "negative"):
            mine, its = set(getattr(other, what)), set(getattr(task, what))
            if mine != its:
                raise SmokeFailed(
                    f"{what} of task {name} are {sorted(mine)}, those of {promised} {sorted(its)}"
                )


def _shaped(outputs: dict[str, NDArray[np.float32]], name: str, width: int) -> NDArray[np.float32]:
    output = outputs[name]
    if output.shape != (len(TEXTS), width):
        raise SmokeFailed(f"output {name} has shape {output.shape}, expected {(len(TEXTS), width)}")
    if not np.isfinite(output).all():
        raise SmokeFailed(f"output {name} holds values that are not finite")
    return output


def _check_task(task: Task, scores: NDArray[np.float32]) -> None:
    if scores.min() < -TOLERANCE or scores.max() > 1 + TOLERANCE:
        raise SmokeFailed(f"output {task.name} holds {scores.min():g} to {scores.max():g}: no probabilities")
    sums = scores.sum(axis=1)
    if task.kind == "multiclass" and np.abs(sums - 1).max() > TOLERANCE:
        raise SmokeFailed(f"output {task.name} sums to {sums.min():g} to {sums.max():g} a text, not to 1")


def _check_unit_length(embedding: NDArray[np.float32]) -> None:
    lengths = np.linalg.norm(embedding, axis=1)
    if np.abs(lengths - 1).max() > 1e-3:
        raise SmokeFailed(f"embeddings are {lengths.min():g} to {lengths.max():g} long, not 1")


def _check_alone(
    alone: dict[str, NDArray[np.float32]], together: dict[str, NDArray[np.float32]], position: int
) -> None:
    for name, output in together.items():
        apart = float(np.abs(alone[name][0] - output[position]).max())
        if apart > TOLERANCE:
            raise SmokeFailed(
                f"output {name} of text {position} moves by {apart:g} with its batch neighbours,"
                f" allowed are {TOLERANCE:g}"
            )
