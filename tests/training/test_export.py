"""From a trained run to a model folder: parity, int8, the gate, coexisting versions."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from tests.training.conftest import RECIPE, posts, write_table
from training import gate, int8, parity, triton
from training import recipe as recipes
from training.calibration import Calibration
from training.card import card
from training.checkpoint import load
from training.errors import CheckpointError, GateError, ParityError
from training.evaluate import evaluate
from training.export import export
from training.exported import Exported
from training.graph import Scorer, write_onnx
from training.labels import TASKS
from training.models import Classifier
from training.prepare import fingerprints, prepare
from training.smoothing import extents, smooth
from training.train import train

TEXTS = [
    "昨晚室友气得直拍桌子。",
    "今天妈妈笑得合不拢嘴！",
    "早上弟弟怕得不敢关灯",
    "好",
    "🎉" * 300,
    "Ａbc ①②",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained tiny run, with its data and its recipe beside it."""
    folder = tmp_path_factory.mktemp("run")
    write_table(folder / "feelings.csv", posts(300))
    write_table(folder / "moods.csv", posts(120, ("happy", "sad"), seed=2))
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    recipe = recipes.load(str(folder / "tiny.toml"))
    splits = prepare(recipe, folder, folder)
    train(recipe, splits, folder, fingerprints(recipe, folder))
    return folder


@pytest.fixture(scope="module")
def models(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with versions 1 and 2 of that run."""
    folder = tmp_path_factory.mktemp("models")
    overrides = ['export.failures="Knows six feelings only."', 'export.first="make beginnings"']
    recipe = recipes.load(str(run / "tiny.toml"), overrides)
    assert export(recipe, run, folder) == folder / "tiny" / "1"
    assert export(recipe, run, folder) == folder / "tiny" / "2"
    return folder / "tiny"


def test_an_export_is_a_complete_model_folder(models: Path) -> None:
    names = {path.relative_to(models).as_posix() for path in models.rglob("*") if path.is_file()}
    files = {
        f"{version}/{name}" for version in (1, 2) for name in ("model.onnx", "tokenizer.json", "metrics.json")
    }
    assert names == files | {"config.pbtxt", "README.md"}


def test_the_config_declares_every_version_and_serves_the_newest(models: Path) -> None:
    text = (models / "config.pbtxt").read_text(encoding="utf-8")
    found = {
        json.loads(k): json.loads(v)
        for k, v in re.findall(r'key: ("[^"]*") value { string_value: ("(?:[^"\\]|\\.)*") }', text)
    }
    assert (found["version"], found["languages"]) == ("2", "zh")
    for version in (1, 2):
        emotion = json.loads(found[f"emotion@{version}"])
        assert (emotion["kind"], len(emotion["labels"]), len(emotion["thresholds"])) == ("multilabel", 9, 9)
        assert emotion["negative"] == ["anger", "anxiety", "hate", "sorrow"]
        assert json.loads(found[f"sentiment@{version}"])["labels"] == ["negative", "positive"]
        assert json.loads(found[f"embedding@{version}"]) == {"dim": 128}
    assert 'name: "emotion" data_type: TYPE_FP32 dims: [ 9 ]' in text
    assert 'backend: "encoder"' in text


def test_embeddings_of_different_length_are_declared_open() -> None:
    tasks = {"emotion": {"kind": "multiclass", "labels": ["joy", "anger"], "negative": ["anger"]}}
    declared = {n: {"tasks": tasks, "embedding": {"dim": dim}} for n, dim in ((1, 128), (2, 256))}
    text = triton.config(declared, serve=2, languages=("en",), queue_delay_us=1)
    assert '"embedding" data_type: TYPE_FP32 dims: [ -1 ]' in text


def test_the_reference_of_a_version_stays_in_the_config(tmp_path: Path) -> None:
    tasks = {"emotion": {"kind": "multiclass", "labels": ["joy", "anger"], "negative": ["anger"]}}
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        declared = json.dumps({"tasks": tasks, "embedding": {"dim": 128}})
        (tmp_path / version / "metrics.json").write_text(declared, encoding="utf-8")
    (tmp_path / "1" / "reference.json").write_text('{"texts": 900}', encoding="utf-8")
    text = triton.config(triton.versions(tmp_path), serve=2, languages=("en",), queue_delay_us=1)
    assert r'key: "reference@1" value { string_value: "{\"texts\": 900}" }' in text
    assert "reference@2" not in text


def test_outputs_are_probabilities_and_a_unit_embedding(models: Path) -> None:
    found = Exported(models / "2").score(TEXTS)
    assert {name: value.shape[1] for name, value in found.items()} == {
        "emotion": 9,
        "sentiment": 2,
        "embedding": 128,
    }
    assert ((found["emotion"] >= 0) & (found["emotion"] <= 1)).all()
    np.testing.assert_allclose(found["sentiment"].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, atol=1e-5)


def test_scores_do_not_depend_on_batch_neighbours(models: Path) -> None:
    assert parity.neighbours(Exported(models / "2"), TEXTS) < 1e-4


def test_the_tokenizer_truncates_by_itself_and_does_not_pad(models: Path) -> None:
    tokenizer = Tokenizer.from_file(str(models / "2" / "tokenizer.json"))
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(["好", "好" * 500])]
    assert lengths == [1, 128]


def test_parity_covers_a_tokenizer_that_differs(run: Path, models: Path) -> None:
    exported = Exported(models / "2")
    parity.tokens(load(run / "model"), exported, TEXTS)
    exported.tokenizer.enable_truncation(64)
    with pytest.raises(ParityError, match=r"text 4 of 6"):
        parity.tokens(load(run / "model"), exported, TEXTS)


def test_parity_covers_weights_that_differ(run: Path, tmp_path: Path, models: Path) -> None:
    checkpoint = load(run / "model")
    (tmp_path / "tokenizer.json").write_text((models / "2" / "tokenizer.json").read_text(encoding="utf-8"))
    write_onnx(Scorer(checkpoint.model, checkpoint.calibration), tmp_path / "model.onnx")
    exported = Exported(tmp_path)
    assert parity.fp32(checkpoint, exported, TEXTS) < 1e-4
    with torch.no_grad():
        checkpoint.model.heads["emotion"].bias.add_(0.1)
    with pytest.raises(ParityError, match="differs from torch"):
        parity.fp32(checkpoint, exported, TEXTS)


@pytest.mark.parametrize("kind", ["weights", "static"])
def test_int8_is_smaller_and_close_and_neighbours_do_not_matter(
    run: Path, models: Path, tmp_path: Path, kind: str
) -> None:
    checkpoint = load(run / "model")
    plain, small = tmp_path / "plain", tmp_path / "small"
    for folder in (plain, small):
        folder.mkdir()
        (folder / "tokenizer.json").write_text((models / "2" / "tokenizer.json").read_text(encoding="utf-8"))
    write_onnx(Scorer(checkpoint.model, checkpoint.calibration), plain / "model.onnx")
    before = Exported(plain)
    int8.quantize(plain / "model.onnx", small / "model.onnx", kind, [before.batch(TEXTS)])
    after = Exported(small)
    sizes = [(folder / "model.onnx").stat().st_size for folder in (small, plain)]
    assert sizes[0] < 0.5 * sizes[1]
    stored = onnx.load(small / "model.onnx", load_external_data=False)
    assert not any(tensor.external_data for tensor in stored.graph.initializer)
    assert b"site-packages" not in (small / "model.onnx").read_bytes()
    if (
        kind == "weights"
    ):  # this fit's few texts saturate it; static int8 is held close on the transformer below
        assert np.abs(before.score(TEXTS)["emotion"] - after.score(TEXTS)["emotion"]).max() < 0.1
    parity.neighbours(after, TEXTS)


@settings(deadline=None)
@given(arrays(np.int16, (3, 2 * int8.BLOCK), elements=st.integers(-300, 300)))
def test_four_bits_are_off_by_half_a_step_and_by_one_where_the_range_ends(whole: np.ndarray) -> None:
    values = whole.astype(np.float32) / 100
    packed, scale = int8.nibbles(values)
    assert (packed.shape, scale.shape) == ((3, int8.BLOCK), (3, 2))
    blocks, step = values.reshape(3, 2, int8.BLOCK), np.abs(scale)[..., None]
    levels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(blocks.shape).astype(np.float32) - 8
    off = np.abs(levels * scale[..., None] - blocks)
    assert (off <= np.where(np.abs(blocks) < 7.5 * step, 0.5, 1.0) * step + 1e-5).all()


def test_a_run_of_another_recipe_is_not_exported(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="trained by recipe tiny, not lovelorn"):
        export(recipes.load("lovelorn"), run, tmp_path)


def test_an_export_below_the_floor_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(run / "tiny.toml"), ['export.floor={"emotion.macro_f1" = 1.01}'])
    with pytest.raises(GateError, match=r"below the recipe's floor 1\.01"):
        export(recipe, run, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_version_worse_than_the_one_it_replaces_is_refused() -> None:
    old = {"emotion/a": {"macro_f1": 0.7}, "emotion/b": {"macro_f1": 0.6}}
    gate.not_worse({"emotion/a": {"macro_f1": 0.71}, "emotion/b": {"macro_f1": 0.6}}, old, 1)
    with pytest.raises(GateError, match=r"version 1's 0\.6500.*emotion/b: 0\.6000 -> 0\.5000"):
        gate.not_worse({"emotion/a": {"macro_f1": 0.7}, "emotion/b": {"macro_f1": 0.5}}, old, 1)


def test_int8_that_loses_half_a_point_is_refused() -> None:
    assert parity.int8({"a": {"macro_f1": 0.700}}, {"a": {"macro_f1": 0.696}}) == pytest.approx(0.004)
    with pytest.raises(ParityError, match=r"loses 0\.60 points"):
        parity.int8({"a": {"macro_f1": 0.700}}, {"a": {"macro_f1": 0.694}})


def test_the_card_tells_metrics_by_label_calibration_licences_failures_and_the_command(models: Path) -> None:
    card = (models / "README.md").read_text(encoding="utf-8")
    for part in (
        "# tiny, version 2",
        "| emotion/feelings | anger |",
        "## Calibration",
        "research use",
        "Knows six feelings only.",
        "of 26 everyday sentences",
        "    make beginnings\n    python -m training train tiny && python -m training export tiny",
    ):
        assert part in card


def test_the_card_of_a_taught_model_names_its_teachers_and_their_texts(run: Path, models: Path) -> None:
    teaching = 'teach={ texts = "posts.parquet", most = 1200, like = ["feelings"], gold = 0.25, train = {} }'
    recipe = recipes.load(str(run / "tiny.toml"), [teaching])
    said = card(recipe, 1, json.loads((models / "1" / "metrics.json").read_text(encoding="utf-8")))
    assert "soft targets, 25% its own label" in said
    assert "posts.parquet: 1,200 texts without labels, labelled by the teachers of feelings" in said
    assert "    python -m training teach tiny && python -m training train tiny &&" in said


def test_a_transformer_scores_alike_in_torch_onnx_and_static_int8(tiny_bert: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    heads = {name: TASKS[name] for name in ("emotion", "sentiment")}
    model = Classifier(
        AutoModel.from_pretrained(tiny_bert), heads, embedding=128, pooling="first", dropout=0.1
    )
    plain = {
        name: Calibration(np.ones(len(task.labels), np.float32), np.zeros(len(task.labels), np.float32))
        for name, task in heads.items()
    }
    scorer = Scorer(model, plain)
    folders = tmp_path / "fp32", tmp_path / "int8"
    for folder in folders:
        folder.mkdir()
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_onnx(scorer, folders[0] / "model.onnx")
    fp32 = Exported(folders[0])
    batch = fp32.batch(TEXTS[:4])
    with torch.inference_mode():
        truth = scorer(*(torch.from_numpy(batch[name]) for name in ("input_ids", "attention_mask")))
    for ours, theirs in zip(truth, fp32.session.run(fp32.outputs, batch), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)
    smoothed = onnx.load(folders[0] / "model.onnx")
    smooth(smoothed, [batch])
    onnx.save(smoothed, folders[1] / "model.onnx")
    for name, values in Exported(folders[1]).score(TEXTS[:4]).items():
        np.testing.assert_allclose(values, fp32.score(TEXTS[:4])[name], atol=1e-5)
    even = [node.output[0] for node in smoothed.graph.node if node.output[0].endswith("_even")]
    assert even
    for reach in extents(smoothed, even, [batch]).values():
        np.testing.assert_allclose(reach, 1, rtol=1e-4)
    int8.quantize(folders[0] / "model.onnx", folders[1] / "model.onnx", "static", [batch])
    small = Exported(folders[1])
    assert np.abs(small.score(TEXTS[:4])["emotion"] - fp32.score(TEXTS[:4])["emotion"]).max() < 0.05
    parity.neighbours(small, TEXTS[:4])


def test_an_exported_version_is_measured_as_it_will_serve(run: Path, models: Path) -> None:
    figures = evaluate(run, "test", models / "2")
    assert set(figures["sets"]) == {"emotion/feelings", "sentiment/moods"}
    assert figures["texts_per_second"] > 0
    assert (run / "evaluation" / "test-onnx" / "predictions.parquet").exists()


SMALL = {"emotion_zh/3": 8e6, "emotion_zh/4": 8e6}  # bytes that its users can count on
SHIPPED = sorted((Path(triton.__file__).parents[1] / "triton_models").glob("*/*/model.onnx"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_a_shipped_model_is_small_and_its_figures_are_of_this_file(path: Path) -> None:
    figures = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))
    assert (
        path.stat().st_size == figures["size"]["onnx_bytes"] <= SMALL.get("/".join(path.parts[-3:-1]), 16e6)
    )
    assert b"site-packages" not in path.read_bytes()
