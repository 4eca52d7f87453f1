from pathlib import Path

from training import recipe as recipes
from training.export import export
from training.prepare import fingerprints, prepare
from training.train import train


def test_a_trained_model_becomes_a_complete_model_folder(tiny: Path, tmp_path: Path) -> None:
    recipe = recipes.load(str(tiny))
    run = tmp_path / "run"
    splits = prepare(recipe, tmp_path, run)
    train(recipe, splits, run, fingerprints(recipe, tmp_path))
    folder = export(recipe, run, tmp_path / "models")
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "tokenizer.json", "metrics.json"}
