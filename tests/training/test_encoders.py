"""The students' encoders: what a text's vector depends on, and that the tokenizer is SentencePiece's twin."""

import pytest
import torch
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from training.encoders.cut import choose_pieces, read_model, unigram_tokenizer
from training.encoders.use import UseConfig, UseEncoder
from training.encoders.words import WordsConfig, WordsEncoder

POSTS = [
    "今天终于抢到票了，开心！！！",
    "憋了一肚子火，谁懂[怒][怒]",
    "ＮＢＡ总决赛　ｇｏ ｇｏ ｇｏ ~~ 哈哈哈",
    "  空格   很多  的  帖子 ",
    "囧……明天又要 6 点起床 (╯°□°)╯",
]


def small_use(mixes: int = 0) -> UseEncoder:
    torch.manual_seed(1)
    config = UseConfig(
        vocab_size=60, rank=8, embedding_size=12, width=6, orders=(2, 3, 5), pooled_size=10, ngrams=31,
        ngram_size=4, skip_size=3, skip_ngrams=37, mixes=mixes, heads=2,
    )  # fmt: skip
    encoder = UseEncoder(config)
    encoder.eval()
    return encoder


def small_words() -> WordsEncoder:
    torch.manual_seed(1)
    encoder = WordsEncoder(WordsConfig(vocab_size=60, table_size=8, width=6, layers=2, heads=2))
    encoder.eval()
    return encoder


def pooled(encoder: UseEncoder | WordsEncoder, ids: list[list[int]]) -> Tensor:
    width = max(map(len, ids))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    with torch.inference_mode():
        vectors: Tensor = encoder(padded, mask).pooler_output
    return vectors


@pytest.mark.parametrize(
    "encoder", [small_use(), small_use(mixes=3), small_words()], ids=["use", "deep use", "words"]
)
@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_a_text_is_read_alike_alone_and_beside_a_longer_one(
    encoder: UseEncoder | WordsEncoder, length: int
) -> None:
    short, long = list(range(5, 5 + length)), list(range(20, 40))
    torch.testing.assert_close(pooled(encoder, [short])[0], pooled(encoder, [short, long])[0])


@pytest.mark.parametrize(
    "encoder", [small_use(), small_use(mixes=3), small_words()], ids=["use", "deep use", "words"]
)
def test_the_order_of_the_words_matters(encoder: UseEncoder | WordsEncoder) -> None:
    there, back = pooled(encoder, [[7, 8, 9, 10], [10, 9, 8, 7]])
    assert (there - back).abs().max() > 1e-3


def test_training_reads_a_text_as_scoring_does() -> None:
    encoder = small_use()
    encoder.config.word_dropout = 0.0
    ids = torch.tensor([[7, 8, 7, 7, 9], [8, 9, 0, 0, 0]])
    scored = encoder(ids, (ids > 0).long()).pooler_output
    torch.testing.assert_close(encoder.train()(ids, (ids > 0).long()).pooler_output, scored)


def test_what_skips_the_embedding_stands_behind_hidden_size() -> None:
    encoder = small_use()
    assert pooled(encoder, [[5, 6]]).shape == (1, encoder.config.hidden_size + 3)


def test_the_tokenizer_cuts_as_sentencepiece_does() -> None:
    model = read_model()
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    ours = unigram_tokenizer(pieces, model.normalizer_spec.precompiled_charsmap, 128)
    theirs = SentencePieceProcessor(model_proto=model.SerializeToString())
    assert [encoding.ids for encoding in ours.encode_batch(POSTS)] == [
        [1, *theirs.encode(post), 2] for post in POSTS
    ]


def test_addresses_vanish_and_a_mention_is_a_bare_sign() -> None:
    model = read_model()
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    tokenizer = unigram_tokenizer(pieces, model.normalizer_spec.precompiled_charsmap, 128)
    noisy = tokenizer.encode("@某位朋友 快看 https://example.com/a?b=1 这个").tokens
    assert noisy == tokenizer.encode("@ 快看 这个").tokens


def test_characters_that_use_lacks_become_pieces_when_they_are_common() -> None:
    _, new = choose_pieces(["愤怒"] * 20, read_model())
    assert "愤" in [piece for piece, _ in new]
