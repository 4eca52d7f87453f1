"""The Chinese encoder as its package carries it, against the graph that it is read from."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from training.encoders import bge
from training.errors import DataError

POSTS = [
    "今天终于抢到票了，开心！！！",
    "憋了一肚子火，谁懂😡😡",
    "Offer 来了 YES！ http://t.cn/abc @隔壁班长",
]
RARE = "囧"  # no piece of BERT's is left unless the texts use it


@pytest.fixture(scope="module")
def jar() -> zipfile.ZipFile:
    return zipfile.ZipFile(bge.package())


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bge")
    pq.write_table(pa.table({"text": POSTS * bge.LEAST_NEW}), folder / "posts.parquet")
    bge.bge(folder / "encoder", [folder / "posts.parquet"], max_tokens=32)
    return folder / "encoder"


def whole_tokenizer(jar: zipfile.ZipFile) -> Any:
    state = json.loads(jar.read(bge.TOKENIZER))
    state["normalizer"]["lowercase"] = True
    return bge.Tokenizer.from_str(json.dumps(state))


def test_the_cut_encoder_sees_a_text_as_the_whole_graph_does(jar: zipfile.ZipFile, cut: Path) -> None:
    session = onnxruntime.InferenceSession(jar.read(bge.GRAPH))
    ids = np.array([whole_tokenizer(jar).encode(POSTS[0]).ids])
    (theirs,) = session.run(
        None, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    )
    ours = torch.tensor([AutoTokenizer.from_pretrained(cut)(POSTS[0])["input_ids"]])
    encoder = AutoModel.from_pretrained(cut, add_pooling_layer=False).eval()
    with torch.inference_mode():
        found = encoder(input_ids=ours, attention_mask=torch.ones_like(ours)).last_hidden_state
    np.testing.assert_allclose(found.numpy(), theirs, atol=1e-4)


def test_the_tokenizer_cuts_as_bge_does_and_knows_what_bge_does_not(
    jar: zipfile.ZipFile, cut: Path
) -> None:
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(cut)
    assert tokenizer.tokenize(POSTS[0]) == whole_tokenizer(jar).encode(POSTS[0]).tokens[1:-1]
    assert tokenizer.tokenize(POSTS[1])[-2:] == ["😡", "😡"]  # one word each
    assert tokenizer.tokenize(POSTS[2])[-1] == "@"  # no address, no name
    assert tokenizer.tokenize(RARE) == ["[UNK]"]
    assert tokenizer("开" * 99, truncation=True)["input_ids"][-1] == tokenizer.sep_token_id
    assert len(tokenizer("开" * 99, truncation=True)["input_ids"]) == 32


def test_every_matrix_is_found_in_the_graph(jar: zipfile.ZipFile, cut: Path) -> None:
    weights = bge.read_weights(onnx.load_from_string(jar.read(bge.GRAPH)))
    encoder = AutoModel.from_pretrained(cut, add_pooling_layer=False)
    assert set(encoder.state_dict()) <= set(weights)


def test_another_jar_than_the_one_meant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bge, "SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"bge-small-zh-v15-.*\.jar: has SHA-256 .*, expected 000"):
        bge.package()
