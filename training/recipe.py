"""A recipe: a small TOML file naming data, tasks, encoder and schedule; every value can be overridden by
`--set`.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import RecipeError
from training.labels import MAPPINGS, TASKS, Task
from training.readers import Columns, Format

RECIPES = Path(__file__).parent / "recipes"
LossKind = Literal["plain", "balanced", "focal"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Kind = TypeVar("Kind", bound=Section)


class Weak(Section):
    """How lovelorn posts are found in `files`: see `weak.lovelorn`."""

    files: tuple[str, ...]
    words: tuple[str, ...]
    sad: tuple[str, ...]
    happy: tuple[str, ...]


class Source(Section):
    """One published set. `dev` and `test` are files of their own, or shares of `train` split off with the
    seed.
    """

    name: str
    train: str
    dev: str | float = 0.0
    test: str | float = 0.0
    format: Format = "table"
    weak: Weak | None = None  # builds the labels instead; `train` is then the files' folder
    task: str
    labels: str | dict[str, str] = ""  # the name of a published mapping, or raw label -> target label
    columns: Columns = Columns()
    mask_emoticons: bool = False
    mask_words: tuple[str, ...] = ()  # key words that gave the weak label ...
    mask_share: float = 0.5  # ... hidden in this share of the texts
    most: int | None = None  # train rows kept, drawn with the seed: for a quick model, or a set too large
    leaks: Literal["stop", "drop", "allow"] = "stop"  # train rows that nearly repeat a held-out text

    @property
    def mapping(self) -> dict[str, str]:
        return self.labels if isinstance(self.labels, dict) else dict(MAPPINGS[self.labels])

    @model_validator(mode="after")
    def _names_exist(self) -> "Source":
        if self.task not in TASKS:
            raise ValueError(f"source {self.name}: task {self.task!r} is none of {', '.join(TASKS)}")
        if isinstance(self.labels, str) and self.labels not in MAPPINGS:
            raise ValueError(f"source {self.name}: labels {self.labels!r} is none of {', '.join(MAPPINGS)}")
        strange = set(self.mapping.values()) - set(TASKS[self.task].labels)
        if strange:
            raise ValueError(f"source {self.name}: {self.task} has no label {', '.join(sorted(strange))}")
        return self


class Lora(Section):
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class Start(Section):
    """`name`: a Hugging Face name or local folder; or a model type to build anew from `config`, over the vocabulary
    of `tokenizer` (again a name or folder) or over characters.
    """

    name: str
    config: dict[str, Any] | None = None
    tokenizer: str | None = None
    max_tokens: int = Field(128, le=128)


class Encoder(Start):
    pooling: Literal["mean", "first", "pooled"] = "mean"
    embedding: int = Field(256, ge=128, le=384)
    dropout: float = 0.1
    table_bits: Literal[4, 8] = (
        8  # of an embedding's value where int8 ships; in 4 bits it is fitted in 4 bits
    )
    lora: Lora | None = None


class Schedule(Section):
    """`loss` with several kinds trains each and keeps the one that is best on dev."""

    epochs: float = 3
    steps: int | None = None  # instead of epochs
    batch: int = 64
    accumulation: int = 1
    rate: float = 2e-5
    warmup: float = 0.1  # share of all steps
    decay: float = 0.01
    loss: tuple[LossKind, ...] = ("plain",)
    choice: float = 0.0  # weight of the cross entropy among the labels a set knows
    even: float = 0.0  # 0: every head weighs the same, 1: every row
    every: int | None = None  # steps between evaluations; none: once an epoch
    patience: int | None = None  # evaluations without a better score before it stops
    best_by: str = "score"  # score: the mean macro-F1 of all tasks and sources on dev
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


class Teaching(Section):
    """Soft targets for the train rows of a recipe, and for texts without labels: see `training.teach`."""

    folds: int = Field(3, ge=2)
    # folds with a neural teacher; n-grams alone teach the others' rows [all]
    neural: int | None = Field(None, ge=1)
    gold: float = Field(0.3, ge=0, le=1)  # of a train row's own label in its target
    ngrams: dict[str, Any] = {}  # for TfidfVectorizer, and `C` for LogisticRegression
    texts: str | None = None  # Parquet file whose column `text` is labelled too
    most: int | None = None  # of these texts, drawn with the seed
    like: tuple[str, ...] = ()  # sets that label what has no label of their task
    train: Schedule  # of the neural teacher


class Shipping(Section):
    """What `export` writes, and the floor below which it refuses to."""

    model: str
    languages: tuple[str, ...]
    floor: dict[str, float] = {}  # metric on dev, such as `emotion.macro_f1` -> least value
    int8: Literal["none", "weights", "static"] = "weights"
    queue_delay_us: int = 2000
    failures: str = ""  # known failures, for the model card
    first: str = ""  # commands that make what the recipe starts from, for the model card


class Recipe(Section):
    name: str
    about: str
    seed: int = 42
    tasks: tuple[str, ...]
    heads_by: Literal["task", "set"] = "task"  # set: sets that disagree get a head each, as teachers do
    source: tuple[Source, ...]
    encoder: Encoder
    train: Schedule = Schedule()
    teach: Teaching | None = None  # where there is one, `train` fits to what `teach` wrote
    export: Shipping | None = None

    @property
    def heads(self) -> dict[str, Task]:
        """Task by recipe key or, with a head for every set, by source; in the order of the outputs."""
        if self.heads_by == "set":
            return {source.name: TASKS[source.task] for source in self.source if source.task}
        return {name: TASKS[name] for name in self.tasks}

    @model_validator(mode="after")
    def _tasks_exist(self) -> "Recipe":
        for name in self.tasks:
            if name not in TASKS:
                raise ValueError(f"task {name!r} is none of {', '.join(TASKS)}")
        names = [source.name for source in self.source]
        if len(set(names)) < len(names):
            raise ValueError("two sources share a name")
        strange = set(self.teach.like if self.teach else ()) - set(names)
        if strange:
            raise ValueError(f"teach.like names no source: {', '.join(sorted(strange))}")
        return self


class Pretraining(Section):
    """What `pretrain` makes of posts without labels; `train.best_by` is masked `accuracy` on the dev posts."""

    name: str
    about: str
    seed: int = 42
    texts: tuple[str, ...]  # Parquet files with a column `text`
    most: int | None = None  # texts taken of each file, drawn with the seed
    apart: tuple[str, ...] = ()  # recipes whose dev and test rows no post may nearly repeat
    dev: int = 2000  # posts held out
    hidden: float = 0.15  # share of tokens hidden
    encoder: Start
    train: Schedule = Schedule(best_by="accuracy")


def find(name: str) -> Path:
    """A recipe by path, or by name among those that come with the package."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise RecipeError(f"no recipe {name}; there are {known}, or give the path of a .toml file")
    return path


def load(name: str, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe and applies `key.path=value` overrides; values are TOML, bare words are strings."""
    return _load(name, overrides, Recipe)


def load_pretraining(name: str, overrides: list[str] | None = None) -> Pretraining:
    return _load(name, overrides, Pretraining)


def _load(name: str, overrides: list[str] | None, kind: type[Kind]) -> Kind:
    path = find(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    for override in overrides or []:
        key, separator, value = override.partition("=")
        if not separator:
            raise RecipeError(f"--set {override}: write it as key=value, for example train.epochs=2")
        _put(values, key.strip().split("."), _value(value.strip()), override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "recipe"
        raise RecipeError(f"{path}: {place}: {first['msg']}") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    """Sources are addressed by name: `source.smp2020-usual.leaks=drop`."""
    place: Any = values
    for key in keys[:-1]:
        place = (
            next((item for item in place if item.get("name") == key), None)
            if isinstance(place, list)
            else place.setdefault(key, {})
        )
        if not isinstance(place, dict | list):
            raise RecipeError(f"--set {override}: the recipe has nothing called {key}")
    if isinstance(place, list):
        raise RecipeError(f"--set {override}: name the source, then the value")
    place[keys[-1]] = value
