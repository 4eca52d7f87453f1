"""Invented posts in every label, and a recipe whose model is trained in seconds."""

import csv
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries below are imported: no test may need a network
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from training import ngrams

WHO = ("我", "室友", "妈妈", "老板", "隔壁的小孩", "前排粉丝", "弟弟", "班长")
WHEN = ("今天", "昨晚", "刚刚", "上周末", "早上", "散场以后", "放学路上", "下雨的时候")
FEELINGS = {
    "angry": ("气得直拍桌子", "太过分了真想骂人", "火冒三丈", "气到发抖"),
    "happy": ("笑得合不拢嘴", "开心到转圈", "高兴得唱起歌来", "乐了一整天"),
    "sad": ("哭湿了枕头", "难过得吃不下饭", "心里空落落的", "眼泪停不下来"),
    "fear": ("怕得不敢关灯", "紧张得手心冒汗", "担心得睡不着", "慌得腿软"),
    "surprise": ("惊得张大了嘴", "完全没想到会这样", "吓了一跳居然是真的", "意外得说不出话"),
    "neutral": ("去超市买了牛奶", "把窗户擦了一遍", "坐三路车回家", "按时交了表格"),
}
ENDS = ("。", "！", "……", "，就这样。", "，你们呢？")


def posts(count: int, labels: tuple[str, ...] = tuple(FEELINGS), seed: int = 1) -> list[tuple[str, str]]:
    """(text, label), all texts different, the labels in turn."""
    chooser = random.Random(seed)
    found: dict[str, str] = {}
    for label in itertools.cycle(labels):
        if len(found) == count:
            break
        parts = (
            chooser.choice(WHEN),
            chooser.choice(WHO),
            chooser.choice(FEELINGS[label]),
            chooser.choice(ENDS),
        )
        found.setdefault("".join(parts), label)
    return list(found.items())


WriteCsv = Callable[[str, list[tuple[str, str]]], Path]


def write_table(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    return lambda name, rows: write_table(tmp_path / name, rows)


RECIPE = """
name = "tiny"
about = "A model that tests train."
tasks = ["emotion", "sentiment"]

[encoder]
name = "ngrams"
config = { vocab_size = 400, buckets = 2048, hidden_size = 16, orders = 2 }
pooling = "pooled"
embedding = 128

[train]
epochs = 4
batch = 16
rate = 2e-2

[[source]]
name = "feelings"
train = "feelings.csv"
dev = 0.2
test = 0.2
task = "emotion"
labels = "smp2020"
leaks = "allow"

[[source]]
name = "moods"
train = "moods.csv"
dev = 0.2
test = 0.2
task = "sentiment"
labels = { happy = "positive", sad = "negative" }
leaks = "allow"

[export]
model = "tiny"
languages = ["zh"]
"""


@pytest.fixture
def tiny(tmp_path: Path, write_csv: WriteCsv) -> Path:
    """The path of a small recipe; its data stand beside it."""
    write_csv("feelings.csv", posts(300))
    write_csv("moods.csv", posts(120, ("happy", "sad"), seed=2))
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def pretrained(recipe: Path) -> None:
    """Makes a recipe name an encoder that stands on disk instead of describing a new one."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    recipe.write_text("\n".join(line for line in lines if not line.startswith("config")), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two thin layers with a character tokenizer, saved as any Hugging Face model is."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer: PreTrainedTokenizerFast = ngrams.character_tokenizer(text for text, _ in posts(300))
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
