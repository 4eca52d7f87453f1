"""An encoder and its tokenizer, pretrained, of a trained model or built anew, as a recipe names them."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from training import checkpoint, ngrams  # AutoModel must know our own encoder
from training.errors import RecipeError
from training.recipe import Start


def load_encoder(choice: Start, texts: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder built without a `tokenizer` takes its characters from `texts`.

    Raises RecipeError where one of both cannot be loaded, or they do not belong together.
    """
    # On a CPU the backward pass of torch's fused attention takes longer than all the rest of a BERT layer.
    attention = None if torch.cuda.is_available() else "eager"
    try:
        if choice.tokenizer or choice.config is None:
            tokenizer = AutoTokenizer.from_pretrained(choice.tokenizer or choice.name)
        else:
            tokenizer = ngrams.character_tokenizer(texts, size=choice.config.get("vocab_size", 8192))
        if checkpoint.is_one(Path(choice.name)):
            trained = checkpoint.load(Path(choice.name)).model.encoder
            encoder = AutoModel.from_config(trained.config, attn_implementation=attention)
            encoder.load_state_dict(trained.state_dict())
        elif choice.config is None:
            encoder = AutoModel.from_pretrained(choice.name, attn_implementation=attention)
        else:
            config = {**choice.config, "vocab_size": len(tokenizer)}
            config = AutoConfig.for_model(choice.name, **config)
            encoder = AutoModel.from_config(config, attn_implementation=attention)
    except (OSError, ValueError) as error:
        raise RecipeError(f"encoder {choice.name} cannot be loaded: {error}") from error
    if len(tokenizer) > encoder.config.vocab_size:
        raise RecipeError(
            f"encoder {choice.name} has no embedding for all {len(tokenizer)} tokens of its tokenizer"
        )
    return encoder, tokenizer
