"""Teachers in folds, and the soft targets that a student is fitted to."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.conftest import posts
from training import prepare, rows
from training import recipe as recipes
from training.errors import DataError, RecipeError
from training.labels import MAPPINGS, TASKS
from training.recipe import Recipe
from training.rows import Rows
from training.teach import resembling, taught, teach
from training.teachers import blend

EMOTION = TASKS["emotion"]
KNOWN = [EMOTION.index(name) for name in ("anger", "anxiety", "joy", "neutral", "sorrow", "surprise")]
TEACH = """
[teach]
folds = 2
gold = 0.25
texts = "untold.parquet"
most = 30
like = ["feelings"]
train = { epochs = 4, batch = 16, rate = 2e-2 }
ngrams = { ngram_range = [1, 2] }
"""
LIKE_BOTH = '{ like = ["feelings", "moods"], ngrams = { ngram_range = [1, 2] }, train = {} }'


@pytest.fixture
def tutored(tiny: Path, tmp_path: Path) -> Recipe:
    """The small recipe with teachers; its texts without labels, one of them twice, stand beside it."""
    tiny.write_text(tiny.read_text(encoding="utf-8") + TEACH, encoding="utf-8")
    untold = [*posts(40, seed=7), *posts(1, seed=7), ("  ", "")]
    pq.write_table(pa.table({"text": [text for text, _ in untold]}), tmp_path / "untold.parquet")
    return recipes.load(str(tiny))


def test_a_text_without_labels_carries_what_the_sets_it_resembles_say(
    tutored: Recipe, tmp_path: Path
) -> None:
    splits = prepare.prepare(tutored, tmp_path, tmp_path / "run")
    teach(tutored, splits, tmp_path, tmp_path / "run")
    untold = taught(tutored, tmp_path / "run").of("untold")
    targets = untold.targets["emotion"]
    np.testing.assert_allclose(targets[:, KNOWN].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(np.delete(targets, KNOWN, axis=1)).all()
    assert np.isnan(untold.targets["sentiment"]).all()
    true = dict(posts(40, seed=7))
    right = [
        EMOTION.labels[np.nan_to_num(target).argmax()] == MAPPINGS["smp2020"][true[text]]
        for text, target in zip(untold.texts, targets, strict=True)
    ]
    assert sum(right) > 0.9 * len(right)
    held_out = {text for split in ("dev", "test") for text in splits[split].texts}
    assert not held_out & set(untold.texts)


def test_a_train_row_keeps_a_share_of_its_own_label(tutored: Recipe, tmp_path: Path) -> None:
    splits = prepare.prepare(tutored, tmp_path, tmp_path / "run")
    teach(tutored, splits, tmp_path, tmp_path / "run")
    moods, own = taught(tutored, tmp_path / "run").of("moods"), splits["train"].of("moods")
    assert moods.texts == own.texts
    assert (moods.targets["sentiment"][own.targets["sentiment"] == 1] >= 0.25).all()
    np.testing.assert_allclose(moods.targets["sentiment"].sum(axis=1), 1, atol=1e-5)
    assert not np.isnan(moods.targets["emotion"][:, KNOWN]).any()


@pytest.mark.usefixtures("tutored")
def test_a_row_is_taught_by_teachers_that_have_not_seen_it(tmp_path: Path) -> None:
    recipe = recipes.load(str(tmp_path / "tiny.toml"), ["teach.gold=0.0"])
    splits = dict(prepare.prepare(recipe, tmp_path, tmp_path / "run"))
    feelings, moods = (splits["train"].of(name) for name in ("feelings", "moods"))
    drawn = np.eye(2, dtype=np.float32)[np.random.default_rng(0).integers(2, size=len(moods))]
    moods = Rows(moods.texts, moods.sources, {**moods.targets, "sentiment": drawn})
    splits["train"] = rows.concat([feelings, moods], recipe.heads)
    teach(recipe, splits, tmp_path, tmp_path / "run")
    found = taught(recipe, tmp_path / "run").of("moods").targets["sentiment"]
    # labels drawn by lot can be known by heart alone
    assert 0.3 < (found.argmax(axis=1) == drawn.argmax(axis=1)).mean() < 0.7


def test_a_row_without_a_neural_teacher_is_left_to_the_n_grams() -> None:
    neural, linear = np.array([[0.9, 0.1], [np.nan, np.nan]]), np.array([[0.5, 0.5], [0.2, 0.8]])
    both = blend({"moods": 0.5}, {"moods": neural}, {"moods": linear})["moods"]
    np.testing.assert_allclose(both, [[0.7, 0.3], [0.2, 0.8]])


def test_each_text_is_labelled_by_the_sets_that_it_looks_like(tiny: Path) -> None:
    recipe = recipes.load(
        str(tiny), ["source.moods.task=emotion", "source.moods.labels=smp2020", f"teach={LIKE_BOTH}"]
    )
    cats, trains = [f"小猫第{n}次睡着了" for n in range(30)], [f"列车在第{n}站晚点了" for n in range(30)]
    train = Rows(cats + trains, ["feelings"] * 30 + ["moods"] * 30, {})
    shares = dict(resembling(train, recipe, ["小猫睡着了吗", "列车又晚点了"])["emotion"])
    np.testing.assert_allclose(shares["feelings"] + shares["moods"], 1, atol=1e-5)
    assert shares["feelings"][0, 0] > 0.8
    assert shares["moods"][1, 0] > 0.8


def test_a_stopped_run_keeps_the_teachers_that_are_fitted(tutored: Recipe, tmp_path: Path) -> None:
    splits = prepare.prepare(tutored, tmp_path, tmp_path / "run")
    fitted = teach(tutored, splits, tmp_path, tmp_path / "run", fold=1) / "model" / "model.safetensors"
    before = fitted.stat().st_mtime_ns
    teach(tutored, splits, tmp_path, tmp_path / "run")
    assert fitted.stat().st_mtime_ns == before


def test_train_refuses_to_start_without_what_it_is_taught_or_with_what_others_asked_for(
    tutored: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="teach tiny"):
        taught(tutored, tmp_path / "run")
    teach(tutored, prepare.prepare(tutored, tmp_path, tmp_path / "run"), tmp_path, tmp_path / "run")
    with pytest.raises(DataError, match="other settings"):
        taught(recipes.load(str(tmp_path / "tiny.toml"), ["teach.gold=0.5"]), tmp_path / "run")


def test_a_set_with_several_labels_a_row_is_named(tutored: Recipe, tmp_path: Path) -> None:
    splits = dict(prepare.prepare(tutored, tmp_path, tmp_path / "run"))
    splits["train"].targets["emotion"][:, KNOWN[:2]] = 1
    with pytest.raises(RecipeError, match="feelings"):
        teach(tutored, splits, tmp_path, tmp_path / "run")


def test_texts_that_cannot_be_read_are_named(tutored: Recipe, tmp_path: Path) -> None:
    pq.write_table(pa.table({"post": ["好"]}), tmp_path / "untold.parquet")
    with pytest.raises(DataError, match=r"untold\.parquet"):
        teach(tutored, prepare.prepare(tutored, tmp_path, tmp_path / "run"), tmp_path, tmp_path / "run")


@pytest.mark.usefixtures("tutored")
def test_a_set_that_like_names_must_be_a_source(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="diaries"):
        recipes.load(str(tmp_path / "tiny.toml"), ['teach.like=["diaries"]'])
