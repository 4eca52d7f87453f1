"""The model card: what a version was trained on, how good it is by label, where it fails, how to make it again."""

from collections.abc import Mapping
from typing import Any

from training.recipe import Recipe

LICENCE = (
    "The sets are published for research, most without a licence; a model trained on them is for research use until "
    "their owners say otherwise. No text of theirs is part of this folder."
)


def card(recipe: Recipe, version: int, figures: Mapping[str, Any]) -> str:
    """Markdown. `figures` is the version's metrics.json."""
    lines = [
        f"# {recipe.export.model if recipe.export else recipe.name}, version {version}",
        "",
        recipe.about,
        "",
        "| set | task | rows | accuracy | macro-F1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, row in figures["test"].items():
        task, source = key.split("/", 1)
        lines.append(f"| {source} | {task} | {row['rows']} | {row['accuracy']:.4f} | {row['macro_f1']:.4f} |")
    lines += [
        "",
        (
            "Held-out rows, never trained on nor tuned on. In a set with one label a text the prediction is the most "
            "probable of the labels that set knows; elsewhere every label above its threshold."
        ),
        "",
        "## By label",
        "",
        "| set | label | precision | recall | F1 | rows |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key, row in figures["test"].items():
        for label, by in row["labels"].items():
            lines.append(
                f"| {key} | {label} | {by['precision']:.3f} | {by['recall']:.3f} | {by['f1']:.3f} | {by['rows']} |"
            )
    lines += ["", "## Calibration", "", "| task | ECE before | ECE after |", "| --- | --- | --- |"]
    lines += [
        f"| {task} | {ece['before']:.4f} | {ece['after']:.4f} |" for task, ece in figures["ece"].items()
    ]
    lines += [
        "",
        (
            "Temperatures and thresholds were fitted on dev, the errors above are of the held-out rows. Per-label "
            "decisions for `emotion`, the winning class for the others; 15 bins."
        ),
        "",
        "## Data and licences",
        "",
        *(f"- {source.name} ({source.task or 'soft targets'}){_notes(source)}" for source in recipe.source),
        "",
        LICENCE,
        "",
        "## Known failures",
        "",
        (recipe.export.failures if recipe.export else "").strip(),
        "",
        "## Size and parity",
        "",
        f"- model.onnx {figures['size']['onnx_bytes'] / 1e6:.2f} MB, int8: {recipe.export.int8 if recipe.export else ''}",
        (
            f"- fp32 graph against torch: at most {figures['parity']['fp32']:.1e} apart on {figures['parity']['texts']} texts; "
            f"int8 loses {100 * figures['parity']['int8_lost_macro_f1']:.2f} points of macro-F1"
        ),
        f"- batch neighbours move a score by at most {figures['parity']['neighbours']:.1e}",
        (
            f"- {figures['size']['texts_per_second']:.0f} held-out texts per second, tokenizer included, by ONNX Runtime on the "
            "exporting machine; `python -m training evaluate RECIPE --exported FOLDER` measures it anew"
        ),
        *(
            [f"- {figures['everyday']['right']} of 26 everyday sentences right (training/everyday.py)"]
            if "everyday" in figures
            else []
        ),
        "",
        "## Make it again",
        "",
        f"    python -m training train {recipe.name} && python -m training export {recipe.name}",
        "",
    ]
    return "\n".join(lines)


def _notes(source: Any) -> str:
    notes = []
    if source.mask_emoticons:
        notes.append("bracketed emoticons removed, as they give the label away")
    if source.weak:
        notes.append(
            f"weak labels: posts with one of {len(source.weak.words)} key words whose own label is not happy, against as "
            f"many happy OCEMOTION posts without; the key words are hidden in {source.mask_share:.0%} of the texts"
        )
    return ": " + "; ".join(notes) if notes else ""
