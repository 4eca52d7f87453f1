"""Drift: the index, the reference it is measured against, and the running counts of what was scored of late."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream import metrics
from stream.drift import BINS, LEAST_TEXTS, Drift, carried, psi, reference
from stream.model import Model, Task
from tests.stream.examples import EMOTIONS, MODEL

COUNTS = arrays(np.int64, BINS, elements=st.integers(0, 10_000)).filter(lambda counts: counts.sum() > 0)
USUAL, MOURNING = (1.0, 8.0), (4.0, 3.0)  # parameters of beta distributions


def texts(count: int, seed: int, beta: tuple[float, float] = USUAL) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pairs = {name: rng.beta(*beta, (count, 1)) for name in ("sentiment", "lovelorn")}
    return {
        "emotion": rng.beta(*beta, (count, 9)).round(6),
        **{name: np.hstack([values, 1 - values]).round(6) for name, values in pairs.items()},
        "unknown": np.full((count, 1), beta[0] / 100),
    }


@pytest.fixture(scope="module")
def model() -> Model:
    telling = replace(MODEL, name="drifting_zh", tells_unknown=True)
    return replace(telling, reference=reference(telling, texts(5000, 1)))


def gauges(model: Model, gauge: Any) -> dict[tuple[str, ...], float]:
    (family,) = gauge.collect()
    found = {tuple(sample.labels.values()): sample.value for sample in family.samples}
    return {labels[2:]: value for labels, value in found.items() if labels[:2] == (model.name, model.version)}


def after(model: Model, *seen: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    drift = Drift()
    for scores in seen:
        drift.observe(model, scores)
    drift.report([model])
    names = ("DRIFT_SCORES", "DRIFT_LABELS", "UNKNOWN_TOKENS", "REFERENCE_TEXTS")
    return {name: gauges(model, getattr(metrics, name)) for name in names}


@given(COUNTS, COUNTS)
def test_the_index_is_never_negative_and_zero_without_a_shift(one: Any, other: Any) -> None:
    shares, others = one / one.sum(), other / other.sum()
    assert psi(shares, others) >= 0
    assert psi(shares, shares) == 0
    assert math.isclose(psi(shares, others), psi(others, shares))


def test_the_index_is_that_of_the_textbook() -> None:
    expected, actual = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    assert psi(expected, actual) == pytest.approx(-0.1 * math.log(0.8) + 0.1 * math.log(1.5))


def test_carried_labels_are_those_of_events() -> None:
    many = Task("emotion", "multilabel", ("a", "b"), frozenset(), (0.5, 0.2))
    one = Task("emotion", "multiclass", ("a", "b"), frozenset())
    scores = np.array([[0.5, 0.1], [0.4, 0.4]])
    assert carried(many, scores).tolist() == [[True, False], [False, True]]
    assert carried(one, scores).tolist() == [[True, False], [True, False]]


def test_a_reference_has_a_tenth_of_the_texts_between_two_deciles(model: Model) -> None:
    assert model.reference is not None
    assert model.reference.texts == 5000
    for label in EMOTIONS:
        assert model.reference.tasks["emotion"][label].shares == pytest.approx([0.1] * 10, abs=0.001)


def test_the_same_population_does_not_drift(model: Model) -> None:
    seen = after(model, *(texts(100, seed) for seed in range(2, 42)))
    assert set(seen["DRIFT_SCORES"]) > {("emotion", label) for label in EMOTIONS}
    assert max(seen["DRIFT_SCORES"].values()) < 0.05
    assert max(seen["DRIFT_LABELS"].values()) < 0.1


def test_a_shifted_population_is_seen(model: Model) -> None:
    seen = after(model, *(texts(100, seed, MOURNING) for seed in range(2, 12)))
    assert min(seen["DRIFT_SCORES"].values()) > 0.25
    assert seen["UNKNOWN_TOKENS"] == {("reference",): pytest.approx(0.01), ("now",): pytest.approx(0.04)}


def test_what_is_long_past_is_forgotten(model: Model) -> None:
    back = after(model, texts(5000, 2, MOURNING), *(texts(1000, seed) for seed in range(3, 53)))
    assert max(back["DRIFT_SCORES"].values()) < 0.05


def test_scores_that_are_all_alike_do_not_drift_from_themselves(model: Model) -> None:
    alike = {name: np.full((500, width), 0.25) for name, width in model.widths.items()}
    still = replace(model, name="still_zh", reference=reference(model, alike))
    assert set(after(still, alike)["DRIFT_SCORES"].values()) == {0.0}


def test_too_few_texts_say_nothing(model: Model) -> None:
    assert after(model, texts(LEAST_TEXTS - 1, 2, MOURNING))["DRIFT_SCORES"] == {}


def test_a_version_without_a_reference_says_so(model: Model) -> None:
    bare = replace(model, name="bare_zh", reference=None)
    seen = after(bare, texts(500, 2))
    assert (seen["DRIFT_SCORES"], seen["REFERENCE_TEXTS"]) == ({}, {(): 0.0})


def test_a_version_that_serves_no_more_shows_no_drift(model: Model) -> None:
    drift = Drift()
    drift.observe(model, texts(500, 2))
    drift.report([])
    assert gauges(model, metrics.DRIFT_SCORES) == {}
