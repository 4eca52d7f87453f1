"""Texts in, scores out: the only module that speaks to Triton.

It knows nothing of Kafka, comments or languages. Distinct texts are scored once, texts of like length travel
together, and a text that the model refuses is found by bisection.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import tritonclient.grpc.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from stream import metrics, tracing
from stream.breaker import Breaker
from stream.comments import Reason, Rejected
from stream.drift import Drift
from stream.errors import ConfigurationError, InputRefused, Unavailable
from stream.model import EMBEDDING, Model
from stream.settings import Settings

Scores = dict[str, tuple[float, ...]]
"""Task → probability of each of its labels; where the model tells it, `unknown` → share of unknown tokens. Rounded
to 6 decimals."""

_PROBE = "ok"  # a text that no working model refuses


class Scorer:
    """Scores texts on the Triton server at `url` (`host:port`), over one gRPC channel.

    A request holds at most `request_texts` texts and takes at most `timeout_s` seconds; at most
    `requests_in_flight` are under way. The scores of the last `cached_texts` texts are remembered.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        request_texts: int,
        requests_in_flight: int,
        cached_texts: int,
        tls: bool = False,
        ca_file: Path | None = None,
    ) -> None:
        self._client = triton.InferenceServerClient(
            url,
            ssl=tls,
            root_certificates=str(ca_file) if ca_file else None,
            channel_args=[
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.keepalive_timeout_ms", 5_000),
                ("grpc.lb_policy_name", "round_robin"),  # one sticky connection would feed one Triton of many
                ("grpc.max_reconnect_backoff_ms", 2_000),
            ],
        )
        self._timeout_s = timeout_s
        self._request_texts = request_texts
        self._slots = asyncio.Semaphore(requests_in_flight)
        self._cached_texts = cached_texts
        self._cache: OrderedDict[tuple[str, str], Scores] = OrderedDict()
        self._breaker = Breaker("Triton")
        self.drift = Drift()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The scorer that the settings ask for."""
        return cls(
            settings.triton_url.partition("://")[2],
            timeout_s=settings.triton_timeout_s,
            request_texts=settings.request_texts,
            requests_in_flight=settings.requests_in_flight,
            cached_texts=settings.cached_texts,
            tls=settings.triton_url.startswith("grpcs://"),
            ca_file=settings.triton_ca_file,
        )

    @staticmethod
    def arrange(texts: list[str]) -> list[str]:
        """Texts of like length side by side: padding is paid for by the longest text of a request."""
        return sorted(texts, key=len)

    async def close(self) -> None:
        await self._client.close()

    async def describe(self, name: str, version: str | None = None) -> Model:
        """Read what Triton says `name` is: its `version`, else the default one.

        Raises ConfigurationError where the model cannot be used, Unavailable where Triton does not answer.
        """
        with _answered(name):
            answer = await self._client.get_model_config(name, as_json=True, client_timeout=self._timeout_s)
        return Model.parse(answer["config"], version=version)

    async def load(self, name: str, version: str | None = None) -> Model:
        """Describe a model and try it on one text. Raises as `describe` does."""
        model = await self.describe(name, version)
        metrics.REFUSED.labels(model.name)  # begins at zero
        try:
            await self.probe(model)
        except InputRefused as error:
            raise ConfigurationError(f"{model} refuses every text: {error}") from error
        return model

    async def versions(self, name: str) -> list[str]:
        """The versions of a model that Triton has loaded, in their order. Raises as `describe` does."""
        with _answered(name):
            found = await self._client.get_model_metadata(name, as_json=True, client_timeout=self._timeout_s)
        return sorted(found.get("versions", []), key=int)

    async def reload(self, name: str) -> None:
        """Have Triton read a model's folder anew, for a version put there since. Raises as `describe` does.

        The versions loaded go on serving meanwhile, and for good where the folder cannot be loaded.
        """
        with _answered(name):
            await self._client.load_model(name)

    async def probe(self, model: Model) -> None:
        """Score one harmless text. Raises Unavailable, or InputRefused where the model is broken."""
        await self.infer(model, [_PROBE])

    async def score(self, model: Model, texts: Sequence[str]) -> list[Scores | Rejected]:
        """Score `texts`, in their order; a text that the model refuses gives a Rejected in its place.

        Raises Unavailable where Triton is away or answers nonsense; what was scored until then is remembered.
        """
        known: dict[str, Scores | Rejected] = {}
        unknown: list[str] = []
        for text in dict.fromkeys(texts):
            scores = self._recall(model, text)
            if scores is None:
                unknown.append(text)
            else:
                known[text] = scores
        metrics.CACHED.labels(model.name, model.version).inc(len(texts) - len(unknown))
        unknown = self.arrange(unknown)
        parts = [unknown[i : i + self._request_texts] for i in range(0, len(unknown), self._request_texts)]
        # Let every part end, for what succeeds is remembered and need not be asked again.
        answers = await asyncio.gather(
            *(self._score_part(model, part) for part in parts), return_exceptions=True
        )
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            known.update(zip(part, answer, strict=True))
        return [known[text] for text in texts]

    async def _score_part(self, model: Model, texts: list[str]) -> list[Scores | Rejected]:
        try:
            async with self._slots:
                scores = await self._breaker.call(lambda: self.infer(model, texts))
        except InputRefused:
            metrics.REFUSED.labels(model.name).inc()
            if len(texts) > 1:
                middle = len(texts) // 2
                return [
                    *await self._score_part(model, texts[:middle]),
                    *await self._score_part(model, texts[middle:]),
                ]
            return [await self._ask_again(model, texts[0])]
        for text, one in zip(texts, scores, strict=True):
            self._remember(model, text, one)
        self._observe(model, scores)
        return list(scores)

    async def _ask_again(self, model: Model, text: str) -> Scores | Rejected:
        """Score a refused text once the model is seen to work: one that is broken refuses whatever comes."""
        try:
            await self.probe(model)
        except InputRefused as error:
            raise Unavailable("Triton", f"{model} refuses every text: {error}") from error
        try:
            (scores,) = await self.infer(model, [text])
        except InputRefused as refusal:
            return Rejected(Reason.MODEL_REFUSED, f"{model}: {refusal}")
        self._remember(model, text, scores)
        self._observe(model, [scores])
        return scores

    async def infer(self, model: Model, texts: list[str]) -> list[Scores]:
        """One request, as it is: no cache, no retry, no bisection.

        Raises InputRefused where the model refuses a text, Unavailable where Triton is away or answers
        nonsense.
        """
        widths = model.widths
        result = await self._ask(model, texts, widths)
        columns = [_probabilities(result, name, len(texts), width) for name, width in widths.items()]
        return [dict(zip(widths, row, strict=True)) for row in zip(*columns, strict=True)]

    async def outputs(self, model: Model, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """All that the model says of `texts`, embeddings too, unchecked: output → array. Raises as `infer` does."""
        names = [*model.widths, *([EMBEDDING] if model.embedding else [])]
        result = await self._ask(model, texts, names)
        return {name: np.asarray(result.as_numpy(name)) for name in names}

    async def _ask(self, model: Model, texts: Sequence[str], outputs: Iterable[str]) -> triton.InferResult:
        request = triton.InferInput("text", [len(texts), 1], "BYTES")
        request.set_data_from_numpy(
            np.array([text.encode() for text in texts], dtype=np.object_).reshape(-1, 1)
        )
        try:
            with tracing.asking(str(model), len(texts)):
                return await self._client.infer(
                    model.name,
                    [request],
                    model_version=model.version,
                    outputs=[triton.InferRequestedOutput(name) for name in outputs],
                    headers=tracing.headers(),
                    client_timeout=self._timeout_s,
                )
        except InferenceServerException as error:
            if error.status() == "StatusCode.INVALID_ARGUMENT":
                raise InputRefused(error.message()) from error
            raise _unavailable(error) from error

    def _observe(self, model: Model, scores: Sequence[Scores]) -> None:
        metrics.SCORED.labels(model.name, model.version).inc(len(scores))
        said = {name: np.array([one[name] for one in scores]) for name in model.widths}
        for task in model.tasks:
            for label, column in zip(task.labels, said[task.name].T, strict=True):
                metrics.SCORE.labels(model.name, model.version, task.name, label).observe_all(column)
        self.drift.observe(model, said)

    def _recall(self, model: Model, text: str) -> Scores | None:
        key = (str(model), text)
        scores = self._cache.get(key)
        if scores is not None:
            self._cache.move_to_end(key)
        return scores

    def _remember(self, model: Model, text: str, scores: Scores) -> None:
        self._cache[(str(model), text)] = scores
        if len(self._cache) > self._cached_texts:
            self._cache.popitem(last=False)


def _probabilities(result: Any, task: str, texts: int, labels: int) -> list[tuple[float, ...]]:
    """The output `task` as one tuple a text, checked: shape (texts, labels), finite, within [0, 1]."""
    output: NDArray[np.float32] | None = result.as_numpy(task)
    if output is None or output.shape != (texts, labels):
        shape = None if output is None else output.shape
        raise Unavailable("Triton", f"output {task!r} has shape {shape}, expected {(texts, labels)}")
    # not (a <= b) is true for NaN as well
    if not np.all((output >= -1e-6) & (output <= 1 + 1e-6)):
        raise InputRefused(f"output {task!r} holds values that are no probabilities")
    rounded = np.clip(output.astype(np.float64), 0, 1).round(6)
    return [tuple(row) for row in rounded.tolist()]


@contextmanager
def _answered(name: str) -> Iterator[None]:
    """Translate what Triton answers about a model as a whole."""
    try:
        yield
    except InferenceServerException as error:
        if error.status() in ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"):
            # Triton listens only once its models are loaded
            raise ConfigurationError(f"Triton cannot serve model {name!r}: {error.message()}") from error
        raise _unavailable(error) from error


def _unavailable(error: InferenceServerException) -> Unavailable:
    return Unavailable("Triton", f"{error.status()}: {error.message()}")
