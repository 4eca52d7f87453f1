"""Losses, metrics, calibration: numbers that have laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import calibration, metrics
from training.collapse import collapsed
from training.labels import TASKS
from training.losses import label_weights, task_loss
from training.rows import Rows, target

EMOTION, SENTIMENT = TASKS["emotion"], TASKS["sentiment"]
NAN = float("nan")


@pytest.mark.parametrize("kind", ["plain", "balanced", "focal"])
@pytest.mark.parametrize("choice", [0.0, 1.0])
def test_a_label_the_set_never_says_gets_no_gradient(kind: str, choice: float) -> None:
    logits = torch.randn(4, 9, requires_grad=True)
    targets = torch.from_numpy(np.stack([target(EMOTION, ["joy"], ["joy", "anger"])] * 4))
    task_loss(logits, targets, EMOTION, kind, torch.ones(9), choice).backward()
    unknown = [EMOTION.index(label) for label in EMOTION.labels if label not in ("joy", "anger")]
    assert logits.grad[:, unknown].abs().max() == 0
    assert logits.grad[:, EMOTION.index("joy")].abs().min() > 0


@pytest.mark.parametrize("task", [EMOTION, SENTIMENT])
def test_a_batch_that_says_nothing_about_a_task_costs_nothing(task: object) -> None:
    logits = torch.randn(3, len(task.labels), requires_grad=True)
    loss = task_loss(logits, torch.full_like(logits, NAN), task, "plain", torch.ones(len(task.labels)))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_a_soft_target_is_met_best_by_its_own_probability() -> None:
    targets = torch.tensor([[0.3, 0.7]])
    losses = {
        p: task_loss(torch.tensor([[1 - p, p]]).log(), targets, SENTIMENT, "plain", torch.ones(2)).item()
        for p in (0.5, 0.6, 0.7, 0.8)
    }
    assert min(losses, key=losses.__getitem__) == 0.7


def test_balanced_weights_lift_the_rare_label_and_are_bounded() -> None:
    targets = np.zeros((100, 2), dtype=np.float32)
    targets[:98, 0], targets[98:, 1] = 1, 1
    weights = label_weights(targets, "multiclass")
    assert weights[1] == 10
    assert weights[0] < 1


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=40))
def test_the_calibration_error_of_certain_truths_is_zero_and_never_above_one(found: list[float]) -> None:
    truth = np.array([[p > 0.5] + [NAN] * 8 for p in found], dtype=np.float32)
    certain = np.nan_to_num(truth)
    assert metrics.calibration_error(certain, truth, EMOTION) == 0
    spread = np.array([[p] + [0.5] * 8 for p in found], dtype=np.float32)
    assert 0 <= metrics.calibration_error(spread, truth, EMOTION) <= 1


def test_a_prediction_is_the_best_label_among_those_the_set_knows() -> None:
    targets = np.stack([target(EMOTION, ["anger"], ["anger", "joy"])])
    found = np.full((1, 9), 0.1, dtype=np.float32)
    found[0, EMOTION.index("love")], found[0, EMOTION.index("anger")] = 0.9, 0.4
    assert metrics.score(found, targets, EMOTION)["accuracy"] == 1


def test_temperature_takes_overconfidence_back() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 4000)
    honest = (
        np.stack([np.zeros(4000), random.normal(0, 1, 4000) + 2 * truth - 1], axis=1).astype(np.float32) * 2
    )
    targets = np.eye(2, dtype=np.float32)[truth]
    fit = calibration.fit(honest * 5, targets, SENTIMENT)
    before = metrics.calibration_error(metrics.softmax(honest * 5), targets, SENTIMENT)
    after = metrics.calibration_error(metrics.softmax(fit.apply(honest * 5)), targets, SENTIMENT)
    assert fit.scale[0] == pytest.approx(0.2, rel=0.1)
    assert after < 0.03 < before


def test_a_threshold_maximises_f1_of_its_label() -> None:
    found = np.array([[p] + [0.0] * 8 for p in (0.1, 0.2, 0.3, 0.4)], dtype=np.float32)
    targets = np.array([[t] + [NAN] * 8 for t in (0, 0, 1, 1)], dtype=np.float32)
    cuts = calibration.thresholds(found, targets)
    assert 0.2 < cuts[0] <= 0.3
    assert cuts[1:] == [0.5] * 8


@pytest.mark.parametrize(("positive", "expected"), [([0.9] * 10, True), ([0.9] * 5 + [0.1] * 5, False)])
def test_one_class_for_every_row_is_a_collapse(positive: list[float], expected: bool) -> None:
    rows = Rows(["x"] * 10, ["set"] * 10, {"sentiment": np.eye(2, dtype=np.float32)[[0, 1] * 5]})
    found = {"sentiment": np.array([[1 - p, p] for p in positive], dtype=np.float32)}
    assert bool(collapsed(found, rows, {"sentiment": SENTIMENT})) is expected


def test_calibration_can_be_undone() -> None:
    logits = np.random.default_rng(4).normal(size=(20, 9)).astype(np.float32)
    fit = calibration.Calibration(np.full(9, 0.7, np.float32), np.full(9, 0.2, np.float32))
    found = metrics.probabilities(fit.apply(logits), EMOTION)
    np.testing.assert_allclose(fit.undo(found, EMOTION), logits, atol=1e-4)
    pairs = logits[:, :2]
    fit = calibration.Calibration(np.full(2, 0.7, np.float32), np.zeros(2, np.float32))
    undone = fit.undo(metrics.probabilities(fit.apply(pairs), SENTIMENT), SENTIMENT)
    np.testing.assert_allclose(metrics.softmax(undone), metrics.softmax(pairs), atol=1e-5)
