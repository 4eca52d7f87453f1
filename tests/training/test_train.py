"""Real fits of tiny models: resume, LoRA, losses, checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel, TrainerCallback

from tests.training.conftest import pretrained
from training import checkpoint, fitting, fourbits, int8, ngrams
from training import recipe as recipes
from training.errors import CheckpointError, DataError, RecipeError
from training.evaluate import evaluate, score
from training.prepare import fingerprints, prepare
from training.recipe import Recipe
from training.train import train


def fitted(recipe: Recipe, data: Path, run: Path, **options: Any) -> checkpoint.Checkpoint:
    splits = prepare(recipe, data, run)
    return checkpoint.load(train(recipe, splits, run, fingerprints(recipe, data), **options))


class Interrupt(TrainerCallback):
    """Stops the process, as far as Trainer can tell, right after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_as_an_uninterrupted_one(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny), ["train.every=5", "train.epochs=1.5", "train.patience=5"])
    splits = prepare(recipe, tmp_path, tmp_path / "one")
    whole = fitting.fit(recipe, splits, tmp_path / "one", "plain")
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(recipe, splits, tmp_path / "two", "plain", callbacks=[Interrupt(13)])
    resumed = fitting.fit(recipe, splits, tmp_path / "two", "plain", resume=True)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, rtol=0, atol=0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "two" / "metrics-plain.jsonl").open()]
    assert steps == [json.loads(line)["step"] for line in (tmp_path / "one" / "metrics-plain.jsonl").open()]


def test_a_checkpoint_of_another_recipe_is_refused_and_the_difference_named(
    tiny: Path, tmp_path: Path
) -> None:
    recipe = recipes.load(str(tiny), ["train.every=5"])
    splits = prepare(recipe, tmp_path, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(recipe, splits, tmp_path / "run", "plain", callbacks=[Interrupt(6)])
    other = recipes.load(str(tiny), ["train.every=5", "seed=7"])
    with pytest.raises(CheckpointError, match="seed differ"):
        fitting.fit(other, splits, tmp_path / "run", "plain", resume=True)


def test_half_a_checkpoint_is_not_resumed_from(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny))
    folder = tmp_path / "checkpoints-plain"
    assert fitting.start(folder, recipe, resume=False) is None
    for step, whole in ((5, True), (10, False)):
        (folder / f"checkpoint-{step}").mkdir()
        if whole:
            (folder / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert fitting.start(folder, recipe, resume=True) == str(folder / "checkpoint-5")


def test_a_checkpoint_explains_itself_and_scores_alike_after_loading(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny), ['train.loss=["plain", "balanced", "focal"]', "train.epochs=3"])
    made = fitted(recipe, tmp_path, tmp_path / "run")
    assert made.recipe == recipe
    assert set(made.meta["losses"]) == {"plain", "balanced", "focal"}
    assert made.meta["losses"][made.meta["loss"]] == max(made.meta["losses"].values())
    assert set(made.meta["data"]) == {"feelings.csv", "moods.csv"}
    assert made.meta["dev"]["emotion.macro_f1"] > 0.8
    texts = ["昨晚室友气得直拍桌子。", "今天妈妈笑得合不拢嘴！"]
    emotions = score(made, texts)["emotion"].argmax(axis=1)
    assert [recipe.heads["emotion"].labels[label] for label in emotions] == ["anger", "joy"]


def test_evaluate_writes_tables_pictures_and_predictions(tiny: Path, tmp_path: Path) -> None:
    fitted(recipes.load(str(tiny)), tmp_path, tmp_path / "run")
    figures = evaluate(tmp_path / "run", "test")
    assert set(figures["sets"]) == {"emotion/feelings", "sentiment/moods"}
    assert figures["everyday"]["negative"] + figures["everyday"]["positive"] == figures["everyday"]["right"]
    names = {path.name for path in (tmp_path / "run" / "evaluation" / "test").iterdir()}
    assert {"metrics.json", "labels.md", "predictions.parquet", "curves-plain.png"} <= names
    assert {"confusion-emotion-feelings.png", "labels-sentiment-moods.png"} <= names


def test_any_hugging_face_encoder_is_fine_tuned_with_lora_and_saved_without_it(
    tiny: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    encoder = [f"encoder.name={tiny_bert}", "encoder.lora.rank=4", "encoder.pooling=first", "train.epochs=1"]
    pretrained(tiny)
    recipe = recipes.load(str(tiny), encoder)
    splits = prepare(recipe, tmp_path, tmp_path / "run")
    before, _ = fitting.build(recipe, [])
    trainable = sum(p.numel() for p in before.encoder.parameters() if p.requires_grad)
    assert 0 < trainable < 0.2 * sum(p.numel() for p in before.encoder.parameters())
    made = checkpoint.load(train(recipe, splits, tmp_path / "run", {}))
    assert isinstance(made.model.encoder, BertModel)
    base = BertModel.from_pretrained(tiny_bert)
    kept, tuned = (m.embeddings.word_embeddings.weight for m in (base, made.model.encoder))
    torch.testing.assert_close(kept, tuned)
    moved = (
        base.encoder.layer[0].attention.self.query.weight
        - made.model.encoder.encoder.layer[0].attention.self.query.weight
    )
    assert moved.abs().max() > 0


def test_a_model_may_start_from_the_encoder_of_another(tiny: Path, tiny_bert: Path, tmp_path: Path) -> None:
    pretrained(tiny)
    short = ["encoder.pooling=first", "train.epochs=1"]
    made = fitted(recipes.load(str(tiny), [f"encoder.name={tiny_bert}", *short]), tmp_path, tmp_path / "run")
    model, _ = fitting.build(
        recipes.load(str(tiny), [f"encoder.name={tmp_path / 'run' / 'model'}", *short]), []
    )
    for name, weight in made.model.encoder.state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], weight, rtol=0, atol=0)


def test_a_table_of_four_bits_is_fitted_in_them(tiny: Path, tiny_bert: Path, tmp_path: Path) -> None:
    pretrained(tiny)
    asked = [f"encoder.name={tiny_bert}", "encoder.pooling=first", "train.epochs=1"]
    with pytest.raises(RecipeError, match="blocks of 64, not 32"):
        fitting.build(recipes.load(str(tiny), [*asked, "encoder.table_bits=4"]), [])
    wide = BertModel(BertConfig.from_pretrained(tiny_bert, hidden_size=64))
    wide.save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "wide")
    made = fitted(
        recipes.load(str(tiny), [f"encoder.name={tmp_path / 'wide'}", *asked[1:], "encoder.table_bits=4"]),
        tmp_path,
        tmp_path / "run",
    )
    table = made.model.encoder.get_input_embeddings().weight.detach()
    assert (table != fourbits.rounded(wide.get_input_embeddings().weight)).any()  # it was fitted ...
    packed, scale = int8.nibbles(table.numpy())  # ... and packing it loses nothing
    levels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(table), -1, int8.BLOCK) - 8.0
    np.testing.assert_allclose((levels * scale[..., None]).reshape(table.shape), table, atol=1e-7)


def test_an_encoder_that_is_not_there_is_named(tiny: Path) -> None:
    pretrained(tiny)
    with pytest.raises(RecipeError, match="nowhere/no-model"):
        fitting.build(recipes.load(str(tiny), ["encoder.name=nowhere/no-model"]), [])


def test_training_without_dev_rows_is_refused(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny), ["source.feelings.dev=0.0", "source.moods.dev=0.0"])
    with pytest.raises(DataError, match="no dev rows"):
        fitted(recipe, tmp_path, tmp_path / "run")


def test_an_ngram_encoder_gives_padding_no_weight() -> None:
    torch.manual_seed(0)
    encoder = ngrams.NgramEncoder(ngrams.NgramConfig(vocab_size=50, buckets=64, hidden_size=8))
    ids = torch.tensor([[5, 6, 7]])
    alone = encoder(ids, torch.ones_like(ids)).pooler_output
    padded = encoder(torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])).pooler_output
    np.testing.assert_allclose(alone.detach().numpy(), padded.detach().numpy(), atol=1e-6)
