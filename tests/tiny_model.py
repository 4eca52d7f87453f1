"""A model small enough to make in a test, in a model folder as triton_models/ has them.

It sees single characters. A text carries an emotion exactly when it holds that emotion's character of MARKS;
its embedding depends on every character.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAME = "tiny_zh"
MARKS = {
    "anger": "怒",
    "anxiety": "慌",
    "expect": "盼",
    "hate": "恨",
    "joy": "乐",
    "love": "爱",
    "sorrow": "哭",
    "surprise": "哇",
    "neutral": "哦",
}
NEGATIVE = ["anger", "anxiety", "hate", "sorrow"]
HIGH, LOW = 0.982014, 0.017986  # sigmoid(±4): with the mark, without it
LETTERS = "".join(MARKS.values()) + "负正恋演唱会门票今天好听难过晚安加油abcdefghijklmnopqrstuvwxyz!?"
VOCABULARY = {"[PAD]": 0, "[UNK]": 1, **{letter: number for number, letter in enumerate(LETTERS, 2)}}
DIM = 16
LONGEST = 128

TASKS: dict[str, dict[str, Any]] = {
    "emotion": {
        "kind": "multilabel",
        "labels": list(MARKS),
        "negative": NEGATIVE,
        "thresholds": [0.5] * len(MARKS),
    },
    "sentiment": {"kind": "multiclass", "labels": ["negative", "positive"], "negative": ["negative"]},
    "lovelorn": {"kind": "multiclass", "labels": ["ordinary", "lovelorn"], "negative": []},
}


def write(
    repository: Path,
    *,
    name: str = NAME,
    versions: tuple[int, ...] = (1,),
    serve: int | None = None,
    mask: bool = True,
    languages: str = "zh",
) -> Path:
    """Write or replace a model folder and return it. Each version has an embedding of its own.

    `serve` is the default version, else the newest. Without `mask` the graph declares no attention_mask.
    """
    folder = repository / name
    for version in versions:
        (folder / str(version)).mkdir(parents=True, exist_ok=True)
        onnx.save(graph(version, mask=mask), str(folder / str(version) / "model.onnx"))
        (folder / str(version) / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "config.pbtxt").write_text(config(versions, serve or versions[-1], languages))
    return folder


def graph(seed: int, *, mask: bool) -> onnx.ModelProto:
    """Presence of each mark → task probabilities; mean of random character vectors → embedding."""
    marks = np.zeros((len(VOCABULARY), 12), np.float32)  # nine emotions, negative, positive, lovelorn
    for column, mark in enumerate([*MARKS.values(), "负", "正", "恋"]):
        marks[VOCABULARY[mark], column] = 1
    vectors = np.random.default_rng(seed).normal(size=(len(VOCABULARY), DIM)).astype(np.float32)
    vectors[0] = 0
    choose = np.zeros((12, 13), np.float32)  # [9 emotions, negative, positive, ordinary, lovelorn]
    choose[range(11), range(11)], choose[11, 12] = 8, 8
    constants = {
        "marks": marks,
        "vectors": vectors,
        "choose": choose,
        "four": np.array(4, np.float32),
        "time": np.array([1], np.int64),
        "parts": np.array([9, 2, 2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["marks", "input_ids"], ["marked"]),
        node("ReduceMax", ["marked", "time"], ["present"], keepdims=0),
        node("MatMul", ["present", "choose"], ["logits"]),
        node("Split", ["logits", "parts"], ["emotions", "polarity", "love"], axis=1),
        node("Sub", ["emotions", "four"], ["centred"]),
        node("Sigmoid", ["centred"], ["emotion"]),
        node("Softmax", ["polarity"], ["sentiment"], axis=1),
        node("Softmax", ["love"], ["lovelorn"], axis=1),
        node("Gather", ["vectors", "input_ids"], ["looked_up"]),
        *(
            [
                node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
                node("Unsqueeze", ["weights", "last"], ["column"]),
                node("Mul", ["looked_up", "column"], ["kept"]),
            ]
            if mask
            else [node("Identity", ["looked_up"], ["kept"])]
        ),
        node("ReduceSum", ["kept", "time"], ["summed"], keepdims=0),
        node("LpNormalization", ["summed"], ["embedding"], axis=1, p=2),
    ]
    constants["last"] = np.array([2], np.int64)
    inputs = ["input_ids", "attention_mask"] if mask else ["input_ids"]
    widths = {"emotion": 9, "sentiment": 2, "lovelorn": 2, "embedding": DIM}
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in widths.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def tokenizer() -> dict[str, Any]:
    """tokenizer.json of the `tokenizers` library: one token a character, LONGEST at most."""
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": LONGEST, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"},
    }


def config(versions: tuple[int, ...], serve: int, languages: str) -> str:
    """config.pbtxt; `serve` is the version served by default."""
    parameters = {"version": str(serve), "languages": languages}
    for version in versions:
        parameters |= {f"{task}@{version}": json.dumps(spec) for task, spec in TASKS.items()}
        parameters[f"embedding@{version}"] = json.dumps({"dim": DIM})
    widths = {**{task: len(spec["labels"]) for task, spec in TASKS.items()}, "embedding": DIM, "unknown": 1}
    return "\n".join(
        [
            'backend: "encoder"',
            "max_batch_size: 1024",
            'input { name: "text" data_type: TYPE_STRING dims: [ 1 ] }',
            *(
                f'output {{ name: "{name}" data_type: TYPE_FP32 dims: [ {width} ] }}'
                for name, width in widths.items()
            ),
            "dynamic_batching { max_queue_delay_microseconds: 1000 }",
            "version_policy { all {} }",
            "instance_group { count: 1 kind: KIND_CPU }",
            *(
                f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
                for key, value in parameters.items()
            ),
            "",
        ]
    )
