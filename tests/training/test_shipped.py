"""A shipped version is read back from its graph, and ships again in fewer bits."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from tests.training.conftest import posts
from training import __main__ as cli
from training import int8, shipped, triton
from training import recipe as recipes
from training.calibration import Calibration
from training.checkpoint import Checkpoint
from training.encoders.cut import read_model, unigram_tokenizer
from training.encoders.use import UseConfig, UseEncoder
from training.errors import CheckpointError
from training.exported import Exported
from training.files import write_json
from training.graph import Scorer, write_onnx
from training.models import Classifier
from training.recipe import Recipe

PIECES, RANK = 600, 128  # of the small model's table
TEXTS = [text for text, _ in posts(40)]


def small(recipe: Recipe) -> Checkpoint:
    """Random weights in tables and matrices that are large enough to be kept as int8."""
    characters = sorted({character for text in TEXTS for character in text})
    unused = [chr(0x3400 + place) for place in range(PIECES - 4 - len(characters))]
    pieces = [
        ("<unk>", 0.0),
        ("<s>", 0.0),
        ("</s>", 0.0),
        *((piece, -2.0) for piece in ["▁", *characters, *unused]),
    ]
    charsmap = read_model().normalizer_spec.precompiled_charsmap
    torch.manual_seed(3)
    config = UseConfig(
        vocab_size=PIECES, rank=RANK, embedding_size=128, width=64, orders=(2, 3), pooled_size=64,
        ngrams=1031, ngram_size=4, skip_size=11, skip_ngrams=997,
    )  # fmt: skip
    encoder = UseEncoder(config)
    table = torch.randint(-8, 8, (PIECES, RANK)) / 20  # what four bits can tell apart ...
    table[:, :: int8.BLOCK] = -8 / 20  # ... as each block reaches to the end of their range
    encoder.table.weight.data = table
    model = Classifier(encoder, recipe.heads, embedding=128, pooling="pooled", dropout=0.1)
    for value in model.parameters():
        if value.ndim == 1:
            value.data += 0.1 * torch.randn_like(value)  # as trained: none is like another
    random = np.random.default_rng(3)
    heads = recipe.heads.items()
    return Checkpoint(
        model.eval(),
        PreTrainedTokenizerFast(
            tokenizer_object=unigram_tokenizer(pieces, charsmap, 128), unk_token="<unk>", pad_token="<unk>"
        ),
        recipe,
        {n: Calibration(*random.uniform(0.5, 1, (2, len(task.labels))).astype(np.float32)) for n, task in heads},
        {"emotion": [0.4] * 9},
        {"data": {}, "dev": {}},
    )  # fmt: skip


@pytest.fixture
def recipe(tiny: Path) -> Recipe:
    return recipes.load(str(tiny))


@pytest.fixture
def version(recipe: Recipe, tmp_path: Path) -> Path:
    """The small model as version 1 in a model repository, as export writes it."""
    folder = tmp_path / "models" / "tiny" / "1"
    folder.mkdir(parents=True)
    made = small(recipe)
    made.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_onnx(Scorer(made.model, made.calibration), tmp_path / "plain.onnx")
    int8.quantize(tmp_path / "plain.onnx", folder / "model.onnx", "weights", [])
    write_json(folder / "metrics.json", {**triton.declaration(made), **made.meta, "recipe": recipe.name})
    return folder


def inputs(version: Path) -> dict[str, np.ndarray]:
    return Exported(version).batch(TEXTS)


def by_torch(made: Checkpoint, version: Path) -> list[np.ndarray]:
    """Scores output by output."""
    batch = {name: torch.from_numpy(values) for name, values in inputs(version).items()}
    with torch.inference_mode():
        return [value.numpy() for value in Scorer(made.model, made.calibration)(**batch)]


def by_graph(version: Path) -> list[np.ndarray]:
    """The same as the graph has it: further optimized, ONNX Runtime rounds activations to 8 bits."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(str(version / "model.onnx"), options, ["CPUExecutionProvider"])
    return list(session.run(None, inputs(version)))


def test_a_version_read_back_scores_as_its_graph_does(recipe: Recipe, version: Path) -> None:
    made = shipped.load(version, recipe)
    for ours, theirs in zip(by_torch(made, version), by_graph(version), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert made.thresholds == {"emotion": [0.4] * 9}


def test_what_is_no_version_of_the_recipe_is_not_read(recipe: Recipe, version: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tiny/7 holds no model\.onnx"):
        shipped.load(version.parent / "7", recipe)
    with pytest.raises(CheckpointError, match="was made by recipe tiny, not lovelorn"):
        shipped.load(version, recipes.load("lovelorn"))


def test_a_version_in_fewer_bits_ships_beside_the_one_it_was_read_from(
    tiny: Path, version: Path, tmp_path: Path
) -> None:
    where = [str(tiny), "--run", str(tmp_path / "run"), "--models", str(version.parents[1])]
    for arguments in (
        ["restore", *where, "--data", str(tmp_path), "--version", "1"],
        ["export", *where, "--set", "export.table_bits=4"],
    ):
        assert CliRunner().invoke(cli.app, arguments, catch_exceptions=False).exit_code == 0
    versions = [version.parent / name for name in ("1", "2")]
    sizes = [(folder / "model.onnx").stat().st_size for folder in versions]
    assert sizes[0] - sizes[1] > 0.4 * PIECES * RANK
    old, new = (by_graph(folder)[0] for folder in versions)
    assert 0 < np.abs(old - new).max() < 0.05
    card = (version.parent / "README.md").read_text(encoding="utf-8")
    assert "| set | task | rows | accuracy | macro-F1 | version 1's |" in card
    assert "restore tiny --version 1 && python -m training export tiny" in card
    assert 'key: "version" value { string_value: "2" }' in (version.parent / "config.pbtxt").read_text()
    again = shipped.load(versions[1], recipes.load(str(tiny)))
    np.testing.assert_allclose(by_torch(again, versions[1])[0], new, atol=1e-5)
