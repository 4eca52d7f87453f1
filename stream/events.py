"""Wire format out: a comment and its scores become an EmotionEvent. Pure; clock and key are arguments.

`EmotionEvent` is the contract, for those who read events; `enrich` and `dumps` write the same without
validation, because it is this program's own data and there are hundreds of thousands a second.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress
from math import prod
from operator import ge
from typing import Annotated, Any, Literal, TypedDict

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from stream.comments import Comment
from stream.model import PRIMARY_TASK, Model, Task
from stream.text import Lang

Scores = Mapping[str, Sequence[float]]
"""Task name → one probability per label, in the order of the task's labels."""

Probability = Annotated[float, Field(ge=0, le=1)]


class Source(BaseModel):
    """The Kafka record an event comes from."""

    topic: str
    partition: int
    offset: int


class TaskResult(BaseModel):
    """What a further task says: every label's probability, and the labels carried."""

    scores: dict[str, Probability]
    labels: list[str]


class EmotionEvent(BaseModel):
    """One scored comment."""

    model_config = ConfigDict(
        frozen=True,
        serialize_by_alias=True,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )

    schema_version: Literal[1] = Field(1, alias="schema", description="Version of this format.")
    id: str = Field(description="The comment's own id.")
    community: str
    author: str | None = Field(description="Pseudonym: keyed HMAC-SHA256 of the author, 128 bits in hex.")
    post_id: str | None
    reply_to: str | None
    lang: Lang
    text: str | None = Field(description="Cleaned text; null where the deployment keeps none.")
    created_at: AwareDatetime
    scored_at: AwareDatetime
    scores: dict[str, Probability] = Field(description="Emotion → probability.")
    labels: list[str] = Field(description="Emotions at or above their threshold.")
    negativity: Probability = Field(description="Probability that at least one negative emotion is present.")
    negative: bool = Field(description="Whether a negative emotion is among the labels.")
    tasks: dict[str, TaskResult] = Field(description="The model's other tasks, by name.")
    model: str = Field(description="Model and version, e.g. `emotion_zh/3`.")
    source: Source


class Event(TypedDict):
    """EmotionEvent as a plain dict; the key order is the wire's."""

    schema: Literal[1]
    id: str
    community: str
    author: str | None
    post_id: str | None
    reply_to: str | None
    lang: Lang
    text: str | None
    created_at: datetime
    scored_at: datetime
    scores: dict[str, float]
    labels: list[str]
    negativity: float
    negative: bool
    tasks: dict[str, dict[str, Any]]
    model: str
    source: dict[str, Any]


def enrich(
    comment: Comment,
    scores: Scores,
    model: Model,
    source: tuple[str, int, int],
    *,
    scored_at: datetime,
    pseudonym_key: bytes,
    include_text: bool = True,
) -> Event:
    """Make the event of a comment that `model` scored; `source` is (topic, partition, offset)."""
    primary = model.primary
    probabilities = scores[PRIMARY_TASK]
    labels = carried(primary, probabilities)
    topic, partition, offset = source
    return {
        "schema": 1,
        "id": comment.id,
        "community": comment.community,
        "author": pseudonym(comment.author, pseudonym_key) if comment.author else None,
        "post_id": comment.post_id,
        "reply_to": comment.reply_to,
        "lang": comment.lang,
        "text": comment.text if include_text else None,
        "created_at": datetime.fromtimestamp(comment.created_at_ms / 1000, UTC),
        "scored_at": scored_at,
        "scores": dict(zip(primary.labels, probabilities, strict=True)),
        "labels": labels,
        "negativity": negativity(primary, probabilities),
        "negative": not primary.negative.isdisjoint(labels),
        "tasks": {
            task.name: {
                "scores": dict(zip(task.labels, scores[task.name], strict=True)),
                "labels": carried(task, scores[task.name]),
            }
            for task in model.tasks[1:]
        },
        "model": str(model),
        "source": {"topic": topic, "partition": partition, "offset": offset},
    }


def dumps(event: Event) -> bytes:
    """The event as the JSON that EmotionEvent reads and writes."""
    return orjson.dumps(event, option=orjson.OPT_UTC_Z)


def loads(content: bytes) -> Event:
    """Read an event back; raises pydantic.ValidationError for what is none."""
    # Event is the dict of an EmotionEvent: tests/stream/test_events.py reads one as the other
    return EmotionEvent.model_validate_json(content).model_dump()  # type: ignore[return-value]


@lru_cache(maxsize=16_384)
def pseudonym(author: str, key: bytes) -> str:
    """Keyed HMAC-SHA256 of the author, cut to 128 bits, in hex: stable, and irreversible without the key."""
    return hmac.digest(key, author.encode(), "sha256")[:16].hex()


def carried(task: Task, probabilities: Sequence[float]) -> list[str]:
    """The labels of a text: those at or above their threshold; of a multiclass task the most probable one."""
    if task.kind == "multilabel":
        return list(compress(task.labels, map(ge, probabilities, task.thresholds)))
    return [task.labels[probabilities.index(max(probabilities))]]


def negativity(task: Task, probabilities: Sequence[float]) -> float:
    """Probability that at least one negative label is present, to six decimals.

    Labels of a multilabel task are taken as independent, 1 - prod(1 - p); those of a multiclass task exclude
    each other, so theirs add up.
    """
    negative = [probabilities[at] for at in task.negative_at]
    present = (
        1 - prod([1 - probability for probability in negative])
        if task.kind == "multilabel"
        else min(sum(negative), 1.0)
    )
    return round(present * 1e6) / 1e6  # round(present, 6), in a third of the time
