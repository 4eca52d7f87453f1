"""Pretraining on invented posts: what is hidden, what is kept apart, and that an interruption changes nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, BertModel, PreTrainedTokenizerBase, TrainerCallback
from typer.testing import CliRunner

from tests.training.conftest import posts
from training import __main__ as cli
from training import fitting, hiding, ngrams, prepare, pretrain, report, unlabelled
from training import recipe as recipes
from training.errors import CheckpointError, DataError, RecipeError
from training.masking import without_emoticons
from training.train import train

RECIPE = """
name = "pretrain-tiny"
about = "An encoder that tests pretrain."
texts = ["posts.parquet"]
apart = ["{apart}"]
dev = 20

[encoder]
name = "bert"
config = {{ hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, intermediate_size = 64 }}
max_tokens = 32

[train]
steps = 40
batch = 16
rate = 5e-3
every = 8
best_by = "accuracy"
"""


@pytest.fixture
def untold(tiny: Path, tmp_path: Path) -> Path:
    """The path of a small pretraining recipe, its posts beside it; some of them are held-out rows of `tiny`."""
    texts = [text for text, _ in posts(300, seed=3)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "posts.parquet")
    path = tmp_path / "pretrain-tiny.toml"
    path.write_text(RECIPE.format(apart=tiny), encoding="utf-8")
    return path


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    made = ngrams.character_tokenizer(text for text, _ in posts(300))
    made.add_tokens(["[怒]"])
    made.mask_token = made.unk_token
    return made


def hidden(texts: list[str], tokenizer: PreTrainedTokenizerBase, share: float = 0.3) -> hiding.HiddenTokens:
    return hiding.HiddenTokens(texts, tokenizer, max_tokens=64, hidden=share, seed=1)


def test_what_is_hidden_follows_from_seed_epoch_and_place_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = [text for text, _ in posts(50)]
    one, two = hidden(texts, tokenizer), hidden(texts, tokenizer)
    for at in (7, 3, 7):
        for key, value in one[at].items():
            np.testing.assert_array_equal(value, two[at][key])
    two.set_epoch(1)
    assert any((one[at]["labels"] != two[at]["labels"]).any() for at in range(50))


def test_labels_name_the_hidden_tokens_and_nothing_else_changes(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = [text for text, _ in posts(200)]
    found = hidden(texts, tokenizer)
    told = [(found[at]["input_ids"], found[at]["labels"], found.ids[at]) for at in range(200)]
    seen, labels, truth = (np.concatenate(column) for column in zip(*told, strict=True))
    chosen = labels != hiding.IGNORED
    assert (labels[chosen] == truth[chosen]).all()
    assert (seen[~chosen] == truth[~chosen]).all()
    assert chosen.mean() == pytest.approx(0.3, abs=0.03)
    assert (seen[chosen] == tokenizer.mask_token_id).mean() == pytest.approx(hiding.MASKED, abs=0.06)


def test_an_emoticon_is_hidden_more_often_than_other_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    found = hidden(["今天[怒]"] * 400, tokenizer, share=0.0)
    chosen = np.stack([found[at]["labels"] for at in range(400)]) != hiding.IGNORED
    assert not chosen[:, :2].any()
    assert chosen[:, 2].mean() == pytest.approx(hiding.MOODS, abs=0.1)


def test_no_train_post_repeats_another_or_a_held_out_row(untold: Path, tiny: Path, tmp_path: Path) -> None:
    held = {
        text
        for split, part in prepare.assemble(recipes.load(str(tiny)), tmp_path).items()
        for text in part.texts
        if split != "train"
    }
    column = pq.read_table(tmp_path / "posts.parquet")["text"].to_pylist()
    assert held & set(column)
    again = [f"{text[:5]} {text[5:]}" for text in column[:40]] + [f"{text}[泪]" for text in sorted(held)]
    pq.write_table(pa.table({"text": column + again}), tmp_path / "posts.parquet")
    found = unlabelled.gather(recipes.load_pretraining(str(untold)), tmp_path, tmp_path / "run")
    assert len(found["dev"]) == 20
    kept = [report.normalized(without_emoticons(text)) for text in found["train"].texts]
    assert len(set(kept)) == len(kept) > 50
    assert not set(kept) & {report.normalized(text) for text in [*held, *found["dev"].texts]}


def test_most_bounds_the_texts_of_each_file(untold: Path, tmp_path: Path) -> None:
    recipe = recipes.load_pretraining(str(untold), ["most=60", "apart=[]"])
    found = unlabelled.gather(recipe, tmp_path, tmp_path / "run")
    assert 20 < len(found["train"]) <= 40


class Interrupt(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 21:  # in the second epoch, some steps after a checkpoint
            raise KeyboardInterrupt


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_pretraining_ends_as_an_uninterrupted_one_and_has_learnt(
    precision: str, untold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.load_pretraining(str(untold), [f"train.precision={precision}"])
    one = pretrain.pretrain(recipe, tmp_path, tmp_path / "one")
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "MetricsFile", lambda _: Interrupt())
        with pytest.raises(KeyboardInterrupt):
            pretrain.pretrain(recipe, tmp_path, tmp_path / "two")
    two = pretrain.pretrain(recipe, tmp_path, tmp_path / "two", resume=True)
    whole, resumed = (AutoModel.from_pretrained(folder) for folder in (one, two))
    assert isinstance(whole, BertModel)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], weight, rtol=0, atol=0)
    told = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").open(encoding="utf-8")]
    accuracy = [line["eval_accuracy"] for line in told if "eval_accuracy" in line]
    assert accuracy[-1] > accuracy[0]
    assert json.loads((one / "meta.json").read_text(encoding="utf-8"))["dev"]["eval_accuracy"] == max(
        accuracy
    )


def test_train_starts_from_what_pretrain_wrote(untold: Path, tiny: Path, tmp_path: Path) -> None:
    made = pretrain.pretrain(
        recipes.load_pretraining(str(untold), ["train.steps=8"]), tmp_path, tmp_path / "run"
    )
    lines = tiny.read_text(encoding="utf-8").replace('"pooled"', '"mean"').splitlines()
    tiny.write_text("\n".join(line for line in lines if not line.startswith("config")), encoding="utf-8")
    recipe = recipes.load(str(tiny), [f"encoder.name={made}", "train.epochs=1"])
    model, _ = fitting.build(recipe, [])
    for name, weight in AutoModel.from_pretrained(made).state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], weight)
    train(recipe, prepare.prepare(recipe, tmp_path, tmp_path / "fit"), tmp_path / "fit", {})
    assert (tmp_path / "fit" / "model" / "meta.json").is_file()


def test_checkpoints_of_another_pretraining_are_refused(untold: Path, tmp_path: Path) -> None:
    recipe = recipes.load_pretraining(str(untold))
    fitting.start(tmp_path / "run" / "checkpoints", recipe, resume=False)
    other = recipes.load_pretraining(str(untold), ["hidden=0.4"])
    with pytest.raises(CheckpointError, match="hidden differ"):
        pretrain.pretrain(other, tmp_path, tmp_path / "run", resume=True)


def test_a_tokenizer_that_the_encoder_has_too_few_embeddings_for_is_refused(
    untold: Path, tiny_bert: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path / "larger")
    choice = {"name": str(tiny_bert), "tokenizer": str(tmp_path / "larger")}
    recipe = recipes.load_pretraining(str(untold))
    recipe = recipe.model_copy(update={"encoder": recipes.Start(**choice)})
    with pytest.raises(RecipeError, match="no embedding"):
        pretrain.build(recipe, [])


def test_a_missing_file_and_one_without_texts_are_named(untold: Path, tmp_path: Path) -> None:
    recipe = recipes.load_pretraining(str(untold))
    with pytest.raises(DataError, match=r"nowhere/posts\.parquet"):
        unlabelled.gather(recipe, tmp_path / "nowhere", tmp_path / "run")
    pq.write_table(pa.table({"words": ["今天"]}), tmp_path / "posts.parquet")
    with pytest.raises(DataError, match=r"posts\.parquet.*text"):
        unlabelled.gather(recipe, tmp_path, tmp_path / "run")


def test_a_dry_run_tells_what_pretrain_would_do_and_does_nothing(untold: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = CliRunner().invoke(
        cli.app,
        ["pretrain", str(untold), "--dry-run", "--data", str(tmp_path), "--run", str(tmp_path / "run")],
    )
    assert result.exit_code == 0
    assert "posts.parquet: there" in result.output.replace("\n", "")
    assert "run/encoder" in result.output.replace("\n", "")
    assert sorted(tmp_path.iterdir()) == before
