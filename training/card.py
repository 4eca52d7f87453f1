"""The model card: what a version was trained on, how good it is by label, where it fails, how to make it
again.
"""

from collections.abc import Mapping
from string import Template
from typing import Any

from training.markdown import table
from training.recipe import Recipe, Source

CARD = Template("""# $model, version $version

$about

$sets

Held-out rows, never trained on nor tuned on; train rows that nearly repeat them were left out where the list
below says so. In a set with one label a text the prediction is the most probable of the labels that set
knows; elsewhere it is every label above its threshold.

## By label

$labels

## Calibration

$calibration

Expected calibration error on the held-out rows, 15 bins: over the single decisions of a multilabel task,
over the winning class of the others. Temperatures and thresholds were fitted on dev.

## Data and licences

$data

The sets are published for research, most without a licence: the model is for research use unless their owners
agree to more. No text of theirs is part of this folder.

## Known failures

$failures

## Size, speed, parity

- model.onnx $megabytes MB, int8 `$int8`$bits
- $speed held-out texts per second with the tokenizer, by ONNX Runtime on the exporting machine;
  `python -m training evaluate $recipe --exported FOLDER` measures it anew
- fp32 graph against torch: at most $fp32 apart on $texts texts; int8 loses $lost points of macro-F1
- batch neighbours move a score by at most $neighbours
$everyday
## Make it again

$first    python -m training $verb && python -m training export $recipe
""")


def card(recipe: Recipe, version: int, figures: Mapping[str, Any]) -> str:
    """Markdown; `figures` is the version's metrics.json. The recipe must have an [export] section."""
    shipping = recipe.export
    assert shipping is not None
    test, parity, size = figures["test"], figures["parity"], figures["size"]
    verb = f"train {recipe.name}"
    data = [*map(described, recipe.source), *taught(recipe)]
    if recipe.teach:
        verb = f"teach {recipe.name} && python -m training {verb}"
    head = ["set", "task", "rows", "accuracy", "macro-F1"]
    sets = [
        [*reversed(key.split("/")), row["rows"], f"{row['accuracy']:.4f}", f"{row['macro_f1']:.4f}"]
        for key, row in test.items()
    ]
    if "replaced" in figures:
        head.append(f"version {figures['replaced']['version']}'s")
        before = figures["replaced"]["macro_f1"]
        for line, key in zip(sets, test, strict=True):
            line.append(f"{before[key]:.4f}" if key in before else "")
    labels = (
        (key, label, f"{by['precision']:.3f}", f"{by['recall']:.3f}", f"{by['f1']:.3f}", by["rows"])
        for key, row in test.items()
        for label, by in row["labels"].items()
    )
    errors = ((task, f"{ece['before']:.4f}", f"{ece['after']:.4f}") for task, ece in figures["ece"].items())
    everyday = figures.get("everyday")
    return CARD.substitute(
        model=shipping.model,
        version=version,
        about=recipe.about,
        first="".join(f"    {line}\n" for line in shipping.first.strip().splitlines()),
        verb=verb,
        recipe=recipe.name,
        sets=table(head, sets),
        labels=table(("task/set", "label", "precision", "recall", "F1", "rows"), labels),
        calibration=table(("task", "before", "after"), errors),
        data="\n".join(data),
        failures=shipping.failures.strip() or "None looked for.",
        megabytes=f"{size['onnx_bytes'] / 1e6:.2f}",
        int8=shipping.int8,
        bits=", wide tables of 4 bits a value" if recipe.encoder.table_bits == 4 else "",
        speed=round(size["texts_per_second"]),
        fp32=f"{parity['fp32']:.0e}",
        texts=parity["texts"],
        lost=f"{100 * parity['int8_lost_macro_f1']:.2f}",
        neighbours=f"{parity['neighbours']:.0e}",
        everyday=f"- {everyday['right']} of 26 everyday sentences right (`training/everyday.py`)\n"
        if everyday
        else "",
    )


def described(source: Source) -> str:
    notes = [source.task]
    if source.weak:
        notes.append(
            f"weak labels: posts with one of {len(source.weak.words)} key words and not labelled happy, "
            "against as many happy ones without; "
            f"the key words are hidden in {source.mask_share:.0%} of the texts"
        )
    if source.mask_emoticons:
        notes.append("bracketed emoticons removed, as they give the label away")
    if source.most:
        notes.append(f"at most {source.most} rows")
    if source.leaks != "stop":
        notes.append(f"near copies of held-out rows {'dropped' if source.leaks == 'drop' else 'kept'}")
    return f"- {source.name}: " + "; ".join(notes)


def taught(recipe: Recipe) -> list[str]:
    how = recipe.teach
    if how is None:
        return []
    own = f"{how.gold:.0%} its own label, the rest by teachers that had not seen it (`training.teach`)"
    lines = [f"- every train row: soft targets, {own}"]
    if how.texts:
        many = f"{how.most:,} texts" if how.most else "texts"
        lines.append(
            f"- {how.texts}: {many} without labels, labelled by the teachers of {', '.join(how.like)}"
        )
    return lines
