"""Recipes, preparation, leaks: from files to splits."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.conftest import WriteCsv, posts
from training import recipe as recipes
from training import report, rows
from training.errors import DataError, LeakError, RecipeError
from training.labels import TASKS
from training.masking import without_emoticons, without_words
from training.prepare import fits, prepare, prepared
from training.rows import Rows


@pytest.mark.parametrize("path", sorted(recipes.RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_package_is_valid_and_named_after_its_file(path: Path) -> None:
    read = recipes.load_pretraining if path.stem.startswith("pretrain") else recipes.load
    assert read(path.stem).name == path.stem


def test_every_value_can_be_overridden(tiny: Path) -> None:
    changed = recipes.load(
        str(tiny),
        ["train.epochs=2", "source.moods.leaks=drop", "encoder.name=hfl/rbt3", 'train.loss=["focal"]'],
    )
    assert (changed.train.epochs, changed.source[1].leaks) == (2, "drop")
    assert (changed.encoder.name, changed.train.loss) == ("hfl/rbt3", ("focal",))


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.epoch=2", "train.epoch"),
        ("train.epochs", "write it as key=value"),
        ("source.nothing.leaks=drop", "nothing"),
        ("source.moods.labels=ocemotion", "sentiment has no label"),
        ("tasks=['mood']", "'mood' is none of"),
    ],
)
def test_a_wrong_value_is_named(tiny: Path, override: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        recipes.load(str(tiny), [override])


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(RecipeError, match="weibo-polarity"):
        recipes.load("nothing")


def test_the_published_polarity_recipe_has_the_published_settings() -> None:
    recipe = recipes.load("weibo-polarity")
    schedule = recipe.train
    assert (schedule.epochs, schedule.batch, schedule.rate, schedule.warmup, schedule.decay) == (
        5,
        64,
        2e-5,
        0.1,
        0.01,
    )
    assert (schedule.precision, schedule.every, schedule.patience) == ("fp16", 200, 3)
    assert (schedule.best_by, recipe.seed, recipe.source[0].test) == ("sentiment.macro_f1", 42, 0.2)


def test_emoticons_in_brackets_are_masked_and_nothing_else() -> None:
    assert without_emoticons("太好了[哈哈][鼓掌] 明天见【泪】") == "太好了 明天见"
    assert without_emoticons("数组 a[0 到 9] 不是") == "数组 a[0 到 9] 不是"


def test_key_words_are_hidden_in_the_share_asked_for_and_alike_for_one_seed() -> None:
    texts = [f"{number}号分手了" for number in range(400)]
    masked = without_words(texts, ["分手"], share=0.5, seed=3)
    assert 150 < sum("分手" not in text for text in masked) < 250
    assert masked == without_words(texts, ["分手"], share=0.5, seed=3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8))
def test_rows_survive_the_disk(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    targets = np.random.default_rng(0).random((len(texts), 9)).astype(np.float32)
    targets[:, 3] = np.nan
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    rows.write(Rows(texts, ["s"] * len(texts), {"emotion": targets}), path)
    found = rows.read(path, {"emotion": TASKS["emotion"], "sentiment": TASKS["sentiment"]})
    assert found.texts == texts
    np.testing.assert_array_equal(found.targets["emotion"], targets)
    assert np.isnan(found.targets["sentiment"]).all()


def test_prepare_splits_by_share_and_reports(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny))
    splits = prepare(recipe, tmp_path, tmp_path / "run")
    assert [len(splits[split].of("feelings")) for split in ("train", "dev", "test")] == [192, 48, 60]
    parts = [set(splits[split].of("feelings").texts) for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 300
    again = prepared(recipe, tmp_path / "run")
    assert again["test"].texts == splits["test"].texts
    assert "| train | feelings | 192 |" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


LONG = "昨天晚上和几个老朋友在江边走了很久聊起小时候的事情"


def leaking(tmp_path: Path, write_csv: WriteCsv, leaks: str) -> recipes.Recipe:
    write_csv("train.csv", [*posts(60), (LONG + "呀", "happy")])
    write_csv("test.csv", [*posts(30, seed=9), ("@某人 " + LONG + "！", "happy")])
    path = tmp_path / "leak.toml"
    path.write_text(
        'name = "leak"\nabout = ""\ntasks = ["emotion"]\n[encoder]\nname = "ngrams"\n'
        '[[source]]\nname = "diary"\ntrain = "train.csv"\ntest = "test.csv"\n'
        f'task = "emotion"\nlabels = "smp2020"\nleaks = "{leaks}"\n',
        encoding="utf-8",
    )
    return recipes.load(str(path))


def test_a_near_copy_across_splits_stops_the_run_and_is_named(tmp_path: Path, write_csv: WriteCsv) -> None:
    with pytest.raises(LeakError, match="diary"):
        prepare(leaking(tmp_path, write_csv, "stop"), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run" / "data").exists()
    assert "| diary | test | diary |" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


def test_a_leak_can_be_dropped_or_allowed_by_name(tmp_path: Path, write_csv: WriteCsv) -> None:
    dropped = prepare(leaking(tmp_path, write_csv, "drop"), tmp_path, tmp_path / "run")
    allowed = prepare(leaking(tmp_path, write_csv, "allow"), tmp_path, tmp_path / "run")
    assert LONG + "呀" not in dropped["train"].texts
    assert LONG + "呀" in allowed["train"].texts


def test_emoticons_that_name_the_label_are_reported() -> None:
    texts = [f"第{i}条[哈哈]" if i % 2 else f"第{i}条[泪]" for i in range(60)]
    part = Rows(texts, ["s"] * 60, {"sentiment": np.eye(2, dtype=np.float32)[[i % 2 for i in range(60)]]})
    found = report.giveaways(part, "sentiment", TASKS["sentiment"])
    assert found == {"tokens": {"[哈哈]": "positive", "[泪]": "negative"}, "share_of_rows": 1.0}


def test_rows_prepared_for_other_sources_are_not_taken_for_this_recipes(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny))
    prepare(recipe, tmp_path, tmp_path / "run")
    assert fits(recipe, tmp_path / "run")
    assert fits(recipes.load(str(tiny), ["train.epochs=9"]), tmp_path / "run")
    assert not fits(recipes.load(str(tiny), ["source.moods.most=20"]), tmp_path / "run")


def test_a_missing_file_stops_before_anything_is_written(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "moods.csv").unlink()
    with pytest.raises(DataError, match=r"moods\.csv"):
        prepare(recipes.load(str(tiny)), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lovelorn_posts_are_found_by_key_words_and_balanced(tmp_path: Path, write_csv: WriteCsv) -> None:
    sad = [(f"第{i}天，还是想你，分手以后睡不着", "sadness") for i in range(20)]
    happy = [(f"第{i}次拿到满分，开心", "happiness") for i in range(50)]
    write_csv("posts.csv", [*sad, *happy, ("分手后反而轻松，开心", "happiness")])
    source = recipes.Source(
        name="lovelorn", train=".", task="lovelorn", labels="lovelorn", mask_words=("分手",),
        weak=recipes.Weak(files=("posts.csv",), words=("分手",), sad=("sadness",), happy=("happiness",)),
    )  # fmt: skip
    recipe = recipes.Recipe(
        name="l", about="", tasks=("lovelorn",), source=(source,), encoder=recipes.Encoder(name="ngrams")
    )
    found = prepare(recipe, tmp_path, tmp_path / "run")["train"]
    assert found.targets["lovelorn"].sum(axis=0).tolist() == [20, 20]
    assert 3 <= sum("分手" in text for text in found.texts) <= 17


def test_the_documentation_names_every_key_and_every_recipe() -> None:
    page = (Path(recipes.__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    sections = (
        recipes.Recipe, recipes.Source, recipes.Weak, recipes.Encoder, recipes.Lora, recipes.Schedule,
        recipes.Shipping, recipes.Pretraining, recipes.Start,
    )  # fmt: skip
    keys = {key for section in sections for key in section.model_fields}
    names = keys | {path.stem for path in recipes.RECIPES.glob("*.toml")}
    assert {name for name in names if not re.search(rf"[`.\[]{name}\b", page)} == set()
