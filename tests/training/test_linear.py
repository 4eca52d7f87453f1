"""The linear part, fitted to what the rest of a model leaves."""

import numpy as np
import pytest
import torch

from tests.training.conftest import posts
from training import linear, ngrams
from training import recipe as recipes
from training.batches import EncodedRows
from training.encoders.use import UseConfig, UseEncoder
from training.inference import predict
from training.labels import MAPPINGS, TASKS
from training.models import Classifier
from training.recipe import Recipe
from training.rows import Rows, target, unknown

HEADS = {name: TASKS[name] for name in ("emotion", "sentiment")}
LABELS = MAPPINGS["smp2020"]
TOKENIZER = ngrams.character_tokenizer(text for text, _ in posts(300))


def told(count: int, seed: int) -> Rows:
    texts, labels = zip(*posts(count, seed=seed), strict=True)
    emotion = np.stack([target(HEADS["emotion"], [LABELS[label]], LABELS.values()) for label in labels])
    return Rows(
        list(texts), ["posts"] * count, {"emotion": emotion, "sentiment": unknown(count, HEADS["sentiment"])}
    )


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    shape = {"rank": 8, "embedding_size": 16, "width": 8, "pooled_size": 16, "ngrams": 31, "ngram_size": 4}
    config = UseConfig(vocab_size=len(TOKENIZER), skip_size=11, skip_ngrams=4093, **shape)
    return Classifier(UseEncoder(config), HEADS, embedding=128, pooling="pooled", dropout=0.0).eval()


@pytest.fixture
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "linear.toml"
    path.write_text(
        'name = "linear"\nabout = ""\ntasks = ["emotion", "sentiment"]\nsource = []\nencoder = { name = "use" }\n'
        "train = { linear = 80, choice = 1.0 }\n",
        encoding="utf-8",
    )
    return recipes.load(str(path))


def test_a_column_of_its_own_for_each_label_changes_no_score(model: Classifier) -> None:
    rows = EncodedRows(told(20, 1), TOKENIZER, 64)
    before = predict(model, rows, 0)
    linear.own_columns(model)
    for name, logits in predict(model, rows, 0).items():
        np.testing.assert_allclose(logits, before[name], atol=1e-5)


def test_only_the_linear_part_learns_and_it_helps_on_texts_it_has_not_seen(
    model: Classifier, recipe: Recipe
) -> None:
    kept = {name: value.clone() for name, value in model.encoder.state_dict().items() if "linear" not in name}
    dev = told(60, 9)
    losses = linear.fit(recipe, model, TOKENIZER, told(200, 1), dev)
    assert min(losses) < 0.8 * losses[0]
    for name, value in kept.items():
        torch.testing.assert_close(model.encoder.state_dict()[name], value)
    found = predict(model, EncodedRows(dev, TOKENIZER, 64), 0)["emotion"]
    known = ~np.isnan(dev.targets["emotion"])
    right = np.where(known, found, -np.inf).argmax(axis=1) == np.nan_to_num(dev.targets["emotion"]).argmax(
        axis=1
    )
    assert right.mean() > 0.8
