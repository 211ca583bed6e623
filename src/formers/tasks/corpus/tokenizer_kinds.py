"""Tokenizers: of characters, of bytes, learned from a text, or any that Hugging Face's library loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.machine.hub import hub_trouble, only_cached
from formers.part import quoted

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.trainers import Trainer

END, MASK, PAD, UNKNOWN, SEPARATOR = "<|endoftext|>", "[MASK]", "[PAD]", "[UNK]", "[SEP]"
LEARNED = ("bpe", "word_pieces")
"""Kinds of pieces that are learned from the training texts, of which there are as many as are asked for."""
KINDS = ("bytes", "characters", *LEARNED)
"""Words for kinds of tokens; anything else is the folder, file or name of a tokenizer."""

_REMEDY = f"Give {', '.join(KINDS)}, the folder of a tokenizer, its tokenizer.json, or its name on the hub"


def tokenizer_for(tokens: str, size: int, train: Sequence[str], texts: Sequence[str]) -> Any:
    """Return the Hugging Face tokenizer that a word in `KINDS` means, or a tokenizer's folder, file or name.

    Args:
        size: pieces to learn, for the kinds in `LEARNED`.
        train: what pieces are learned from.
        texts: what is to be read: every character in them is known.

    Raises:
        FileNotFoundError: where there is no such tokenizer, or it cannot be read.
    """
    if tokens == "bytes":
        return byte_tokenizer()
    if tokens == "characters":
        return character_tokenizer("".join(sorted(set().union(*texts))))
    if tokens == "bpe":
        return learned_bpe(train, size)
    if tokens == "word_pieces":
        return learned_word_pieces(train, size)
    return trained_tokenizer(tokens)


def byte_tokenizer() -> Any:
    """Return a tokenizer of UTF-8 bytes: byte b has number b, and 256 ends a text."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    numbers = {sign: byte for byte, sign in enumerate(byte_signs())}
    return wrapped(over_bytes(Tokenizer(BPE(vocab=numbers, merges=[]))), eos_token=END)


def character_tokenizer(alphabet: str, *, ends: bool = True) -> Any:
    """Return a tokenizer of characters: each one's number is its place in the alphabet, and the next one ends a text.

    It refuses characters that it does not know.
    """
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import WordLevel

    tokenizer = Tokenizer(WordLevel({character: i for i, character in enumerate(alphabet)}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return wrapped(tokenizer, **({"eos_token": END} if ends else {}))


def learned_bpe(texts: Iterable[str], size: int) -> Any:
    """Return a tokenizer of `size` pieces of bytes, merged by frequency in some texts (GPT-2's kind of BPE).

    Sources: Sennrich et al. 2016, arXiv:1508.07909; Radford et al. 2019.
    """
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return wrapped(_trained(over_bytes(Tokenizer(BPE())), texts, trainer), eos_token=END)


def learned_word_pieces(texts: Iterable[str], size: int) -> Any:
    """Return a tokenizer of `size` word pieces learned from some texts, of lower-case words without accents, as BERT's.

    Source: Devlin et al. 2018, arXiv:1810.04805.
    """
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = [PAD, UNKNOWN, SEPARATOR, MASK]
    trainer = WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    names = {"pad_token": PAD, "unk_token": UNKNOWN, "sep_token": SEPARATOR, "mask_token": MASK}
    return wrapped(_trained(tokenizer, texts, trainer), **names)


def trained_tokenizer(name: str) -> Any:
    """Return the tokenizer in a folder, of a `tokenizer.json`, or of a name on the Hugging Face hub.

    Raise FileNotFoundError where there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    place, trouble = Path(name).expanduser(), None
    if not place.exists() and (near := get_close_matches(name[:64], KINDS, n=1, cutoff=0.75)):
        raise FileNotFoundError(f"there is no kind of tokens and no folder {quoted(name)}; did you mean {near[0]!r}?")
    try:
        if place.is_file():
            return PreTrainedTokenizerFast(tokenizer_file=str(place))
        if place.is_dir():
            return AutoTokenizer.from_pretrained(str(place))
        if not _is_path(name):
            trouble = hub_trouble()
            return AutoTokenizer.from_pretrained(name, **only_cached(trouble))
    except Exception as error:  # the tokenizers library raises plain ones
        why = trouble or str(error).strip().splitlines()[0][:200]
        raise FileNotFoundError(f"no tokenizer can be read from {quoted(name)}: {why}. {_REMEDY}") from None
    raise FileNotFoundError(f"there is no tokenizer at {place}. {_REMEDY}")


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.endswith(".json") or name.count("/") > 1


def over_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Let a tokenizer work on UTF-8 bytes, in place, and return it."""
    from tokenizers import decoders, pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_signs() -> list[str]:
    """Return the sign by which a byte-level tokenizer writes each byte: itself where it can be printed.

    The others are written, in order, by the signs from number 256 on.
    """
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printed else next(others)) for byte in range(256)]


def _trained(tokenizer: Tokenizer, texts: Iterable[str], trainer: Trainer) -> Tokenizer:
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrapped(tokenizer: Tokenizer, **names: str) -> Any:
    """Return a tokenizer as Hugging Face's models take it, with the names of its special tokens."""
    from transformers import PreTrainedTokenizerFast

    make: Callable[..., Any] = PreTrainedTokenizerFast
    return make(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names)
