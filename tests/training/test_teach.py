"""Soft targets of a trained model and an n-gram model, written and read back as a recipe's source."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.conftest import posts
from training import recipe as recipes
from training.errors import DataError
from training.prepare import fingerprints, prepare
from training.teach import EMOTION, read_texts, teach
from training.train import train

KNOWN = [EMOTION.index(name) for name in ("anger", "anxiety", "joy", "neutral", "sorrow", "surprise")]


def test_a_taught_text_carries_soft_targets_for_what_the_labelled_set_says(
    tiny: Path, tmp_path: Path
) -> None:
    recipe, runs = recipes.load(str(tiny)), tmp_path / "runs"
    train(recipe, prepare(recipe, tmp_path, runs / "tiny"), runs / "tiny", fingerprints(recipe, tmp_path))
    untold = [*posts(40, seed=7), *posts(40, seed=7), ("  ", "")]
    pq.write_table(pa.table({"text": [text for text, _ in untold]}), tmp_path / "untold.parquet")
    teach(
        "tiny", labelled=["feelings"], texts=tmp_path / "untold.parquet", out=tmp_path / "taught.parquet",
        most=30, runs=runs,
    )  # fmt: skip

    overrides = ["source.moods.format=rows", "source.moods.train=taught.parquet", "source.moods.test=0.0"]
    taught = prepare(recipes.load(str(tiny), overrides), tmp_path, tmp_path / "run")["train"].of("moods")
    targets = taught.targets["emotion"]
    np.testing.assert_allclose(targets[:, KNOWN].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(np.delete(targets, KNOWN, axis=1)).all()
    true = dict(posts(40, seed=7))
    labels = recipes.MAPPINGS["smp2020"]
    right = [
        EMOTION.labels[np.nan_to_num(target).argmax()] == labels[true[text]]
        for text, target in zip(taught.texts, targets, strict=True)
    ]
    assert sum(right) > 0.9 * len(right)


def test_a_set_the_teacher_never_saw_is_named(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny))
    prepare(recipe, tmp_path, tmp_path / "tiny")
    with pytest.raises(DataError, match="diaries"):
        teach("tiny", labelled=["diaries"], texts=tmp_path / "x", out=tmp_path / "y", runs=tmp_path)


def test_texts_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"post": ["好"]}), tmp_path / "posts.parquet")
    with pytest.raises(DataError, match=r"posts\.parquet"):
        read_texts(tmp_path / "posts.parquet", None)
