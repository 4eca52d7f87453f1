"""What Triton says a model is: its tasks, labels and thresholds, read from the model's config. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

import orjson
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as validated

from stream.errors import ConfigurationError

T = TypeVar("T")

PRIMARY_TASK = "emotion"
EMBEDDING = "embedding"
REFERENCE = "reference"
UNKNOWN = "unknown"


@validated(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Task:
    """One output of a model: a probability per label.

    `multilabel`: a label is carried from its threshold up. `multiclass`: the most probable label is.
    """

    name: str
    kind: Literal["multilabel", "multiclass"]
    labels: Annotated[tuple[str, ...], MinLen(2)]
    negative: frozenset[str]
    thresholds: tuple[Annotated[float, Ge(0), Le(1)], ...] = ()

    @cached_property
    def negative_at(self) -> tuple[int, ...]:
        """Positions of the negative labels among the labels."""
        return tuple(at for at, label in enumerate(self.labels) if label in self.negative)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if strangers := self.negative.difference(self.labels):
            raise ValueError(f"negative labels {sorted(strangers)} are not among the labels")
        if len(self.thresholds) != (len(self.labels) if self.kind == "multilabel" else 0):
            raise ValueError("a multilabel task has one threshold per label, a multiclass task none")
        return self


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class LabelReference:
    """What is usual of a label: its scores cut at their deciles, the share of texts in each of the ten bins (at or
    below the first cut, …, above the last), and the share of texts that carry the label."""

    cuts: Annotated[tuple[float, ...], MinLen(9), MaxLen(9)]
    shares: Annotated[tuple[float, ...], MinLen(10), MaxLen(10)]
    carried: float


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Reference:
    """The texts that a version was measured on: how many, what is usual of each task's labels, and the mean share of a
    text's tokens that the tokenizer does not know (None: not measured)."""

    texts: int
    tasks: dict[str, dict[str, LabelReference]]
    unknown: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model as the worker uses it; the primary task comes first.

    `embedding` is its length; `tells_unknown`: there is an output with the share of unknown tokens.
    """

    name: str
    version: str
    languages: tuple[str, ...]
    tasks: tuple[Task, ...]
    embedding: int | None = None
    reference: Reference | None = None
    tells_unknown: bool = False

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def __hash__(self) -> int:  # asked for with every comment; hashing all labels would be dear
        return hash((self.name, self.version))

    @property
    def primary(self) -> Task:
        """The task whose labels and negativity make an emotion event."""
        return self.tasks[0]

    @property
    def widths(self) -> dict[str, int]:
        """The outputs that scoring asks for, and how many numbers each has a text."""
        widths = {task.name: len(task.labels) for task in self.tasks}
        return {**widths, UNKNOWN: 1} if self.tells_unknown else widths

    @classmethod
    def parse(cls, config: Mapping[str, Any], version: str | None = None) -> Self:
        """Read a version (the config's own choice if None) from a Triton model config in JSON form.

        Raises ConfigurationError naming the model and the parameter at fault.
        """
        name = config["name"]
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        version = version or _parameter(name, parameters, "version")
        widths = {output["name"]: int(output["dims"][-1]) for output in config.get("output", [])}
        tasks = tuple(
            _task(name, key, parameters[key], widths)
            for key in sorted(parameters)
            if key.endswith(f"@{version}") and key.partition("@")[0] not in (EMBEDDING, REFERENCE)
        )
        tasks = tuple(sorted(tasks, key=lambda task: task.name != PRIMARY_TASK))
        if not tasks or tasks[0].name != PRIMARY_TASK or not tasks[0].negative:
            raise ConfigurationError(
                f"model {name}: parameter {PRIMARY_TASK}@{version} is missing or names no negative label"
            )
        languages = tuple(filter(None, map(str.strip, _parameter(name, parameters, "languages").split(","))))
        embedding = parameters.get(f"{EMBEDDING}@{version}")
        return cls(
            name,
            version,
            languages,
            tasks,
            _read(_EMBEDDING, name, f"{EMBEDDING}@{version}", embedding)["dim"] if embedding else None,
            _reference(name, f"{REFERENCE}@{version}", parameters, tasks),
            tells_unknown=UNKNOWN in widths,
        )


_TASK = TypeAdapter(Task)
_REFERENCE = TypeAdapter(Reference)
_EMBEDDING = TypeAdapter(dict[Literal["dim"], Annotated[int, Ge(1)]])


def _parameter(model: str, parameters: Mapping[str, str], key: str) -> str:
    if not parameters.get(key):
        raise ConfigurationError(f"model {model}: its config.pbtxt has no parameter {key}")
    return parameters[key]


def _read(adapter: TypeAdapter[T], model: str, key: str, value: str, **more: str) -> T:
    try:
        return adapter.validate_json(orjson.dumps({**orjson.loads(value), **more}))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise ConfigurationError(f"model {model}: parameter {key} is not a JSON object: {error}") from None
    except ValidationError as error:
        why = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
        raise ConfigurationError(f"model {model}: parameter {key}: {why}") from None


def _reference(
    model: str, key: str, parameters: Mapping[str, str], tasks: tuple[Task, ...]
) -> Reference | None:
    if key not in parameters:
        return None
    reference = _read(_REFERENCE, model, key, parameters[key])
    for task in tasks:
        if set(reference.tasks.get(task.name, ())) != set(task.labels):
            raise ConfigurationError(f"model {model}: parameter {key} is not about the labels of {task.name}")
    return reference


def _task(model: str, key: str, value: str, widths: Mapping[str, int]) -> Task:
    name = key.partition("@")[0]
    task = _read(_TASK, model, key, value, name=name)
    if widths.get(name) != len(task.labels):
        raise ConfigurationError(
            f"model {model}: parameter {key} has {len(task.labels)} labels,"
            f" output {name} has {widths.get(name, 'none')}"
        )
    return task
