"""Vocabularies of texts to classify as Hugging Face tokenizers, for `AutoTokenizer` to load beside a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from formers.tasks.corpus.tokenizer_kinds import PAD, SEPARATOR, UNKNOWN, byte_signs, over_bytes, wrapped

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def shifted_byte_tokenizer() -> Any:
    """Return a tokenizer of UTF-8 bytes: byte b has number b + 1, 0 is padding, and 257 separates two texts."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    numbers = {PAD: 0, **{sign: byte + 1 for byte, sign in enumerate(byte_signs())}, SEPARATOR: 257}
    return _for_pairs(over_bytes(Tokenizer(BPE(vocab=numbers, merges=[]))), pad_token=PAD, sep_token=SEPARATOR)


def word_tokenizer(tokenizer: Tokenizer) -> Any:
    """Return a tokenizer of word pieces with [PAD], [UNK] and [SEP] as a Hugging Face one that separates two texts."""
    return _for_pairs(tokenizer, pad_token=PAD, unk_token=UNKNOWN, sep_token=SEPARATOR)


def _for_pairs(tokenizer: Tokenizer, **names: str) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    apart = Tokenizer.from_str(tokenizer.to_str())  # the one given goes on without the template
    number = apart.token_to_id(SEPARATOR)
    apart.post_processor = TemplateProcessing(
        single="$A", pair=f"$A {SEPARATOR} $B:1", special_tokens=[(SEPARATOR, number)]
    )
    return wrapped(apart, **names)
