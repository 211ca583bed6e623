"""Tokenizers of corpora: texts come back, numbers are those that are said, saved ones load equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from formers.tasks.corpus.corpus import CorpusSource
from formers.tasks.corpus.pieces import PLAIN, Pieces
from formers.tasks.corpus.tokenizer_kinds import tokenizer_for
from formers.tasks.corpus.tokenizer_vocabulary import TokenizerVocabulary

TEXT = "The whippersnapper’s unaffable co-star:\n\tZürich, 日本 at 10:45!  Twice  spaced.\r\n"
TRAIN = [TEXT * 20, "Once upon a time there was a whippersnapper's co-star. " * 20]


def pieces(tokens: str) -> Pieces:
    return Pieces(tokenizer_for(tokens, 300, TRAIN, TRAIN))


@pytest.mark.parametrize("tokens", ["bytes", "characters", "bpe"])
def test_texts_come_back(tokens: str) -> None:
    found = pieces(tokens)
    assert found.decode(found.encode(TEXT)) == TEXT
    assert found.decode(torch.tensor([*found.encode("at"), found.end])) == "at"


def test_bytes_and_characters_are_numbered_plainly() -> None:
    assert pieces("bytes").encode(TEXT).tolist() == list(TEXT.encode())
    assert (len(pieces("bytes")), pieces("bytes").end) == (257, 256)
    assert pieces("bytes").encode("\x00\x7f").tolist() == [0, 127]
    alphabet = sorted(set("".join(TRAIN)))
    assert pieces("characters").encode(TEXT).tolist() == [alphabet.index(sign) for sign in TEXT]
    assert pieces("characters").end == len(alphabet)


@pytest.mark.parametrize("tokens", ["bytes", "characters"])
def test_what_is_read_without_the_tokenizer_has_its_numbers(tokens: str) -> None:
    text = f"{TEXT}<|endoftext|>[MASK]\x00\u2028\U0001f600\u0301é\ufeff"
    made = tokenizer_for(tokens, 0, [text], [text])
    plain, slow = PLAIN[tokens](made).with_mask(), Pieces(made)
    assert plain.encode(text).equal(slow.encode(text))
    assert plain.encode("").tolist() == slow.encode("").tolist() == []
    assert plain.encode(text).dtype == torch.long
    if tokens == "characters":
        for unknown in ("é日b", "\x01", "\U0010ffff"):
            with pytest.raises(ValueError, match="does not know the characters"):
                plain.encode(f"{unknown}\x02")


@pytest.mark.parametrize(("tokens", "special"), [("bytes", False), ("characters", False), ("bytes", True)])
def test_a_long_text_is_read_without_the_tokenizer_unless_it_has_to_be(
    tokens: str, special: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records take 200 bytes for each byte of a text: 20 GB for enwik8."""
    (tmp_path / "text.txt").write_text("so many words. " * 10_000)
    longest = [0]
    read = Pieces._read

    def noted(self: Pieces, text: str, **options: bool) -> Any:
        longest[0] = max(longest[0], len(text))
        return read(self, text, **options)

    monkeypatch.setattr(Pieces, "_read", noted)
    corpus = CorpusSource(str(tmp_path / "text.txt"), "text", None, tokens, 0, special=special).load()
    assert len(corpus.train) == 135_000
    assert (longest[0] > 100_000) == special


def test_learned_pieces_are_as_many_as_asked_for_and_whole_words_where_common() -> None:
    assert len(pieces("bpe")) == 300
    assert len(pieces("bpe").encode(" whippersnapper")) < 9
    words = pieces("word_pieces")
    assert words.decode(words.encode("Zürich whippersnapper")) == "zurich whippersnapper"
    assert words.mask == 3


@pytest.mark.parametrize("tokens", ["bytes", "characters", "bpe", "word_pieces"])
def test_saved_tokenizers_load_equal(tokens: str, tmp_path: Path) -> None:
    kept = pieces(tokens).with_mask()
    kept.save(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(TEXT)["input_ids"] == kept.encode(TEXT).tolist()
    assert loaded.decode(kept.encode(TEXT)) == kept.decode(kept.encode(TEXT))
    assert loaded.mask_token_id == kept.mask
    assert Pieces(tokenizer_for(str(tmp_path), 0, [], [])).encode(TEXT).equal(kept.encode(TEXT))
    assert Pieces(tokenizer_for(str(tmp_path / "tokenizer.json"), 0, [], [])).encode(TEXT).equal(kept.encode(TEXT))


def test_a_mask_is_added_once_where_there_is_none() -> None:
    plain = pieces("bpe")
    with pytest.raises(ValueError, match="no token for masks"):
        plain.mask  # noqa: B018
    masked = plain.with_mask()
    assert (masked.mask, len(masked)) == (300, 301)
    assert len(masked.with_mask()) == 301
    assert masked.mask not in masked.ordinary
    assert masked.end not in masked.ordinary


@pytest.mark.parametrize("tokens", ["bytes", "characters", "bpe", "word_pieces"])
def test_words_begin_where_the_text_says(tokens: str) -> None:
    found = pieces(tokens)
    text = "The co-star,  unaffable."
    ids, starts = found.encode(text), found.word_starts(text)
    assert len(ids) == len(starts)
    words, firsts = [], starts.nonzero().flatten().tolist()
    for first, last in zip(firsts, [*firsts[1:], len(ids)], strict=True):
        if word := found.decode(ids[first:last]).strip().lower().replace(" ", ""):
            words.append(word)
    assert words == ["the", "co", "-", "star", ",", "unaffable", "."]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ("/nowhere/tokenizer", "there is no tokenizer at /nowhere/tokenizer"),
        ("./charcters", "did you mean .characters."),
        ("{here}/bad.json", "no tokenizer can be read from"),
        ("{here}/empty", "no tokenizer can be read from"),
    ],
)
def test_tokenizers_that_are_not_there(tokens: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=message):
        tokenizer_for(tokens.format(here=tmp_path), 0, [], [])


def test_a_misspelt_kind_is_told_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="did you mean 'characters'"):
        tokenizer_for("charcters", 0, [], [])


def test_unknown_characters_are_refused_or_left_out() -> None:
    with pytest.raises(ValueError, match=r"the tokenizer does not know the characters \['Ω'\]"):
        pieces("characters").encode("aΩt")
    assert pieces("characters").without_unknown("aΩt") == "at"
    assert pieces("word_pieces").without_unknown("a☃t") == "at"
    assert pieces("bytes").without_unknown("aΩt") == "aΩt"


@pytest.mark.parametrize("tokens", ["bytes", "characters", "bpe", "word_pieces"])
def test_names_of_special_tokens_in_a_text_are_text_unless_asked_for(tokens: str, tmp_path: Path) -> None:
    name = "[SEP]" if tokens == "word_pieces" else "<|endoftext|>"
    text = f"the end {name} once"
    known = [*TRAIN, text]
    plain = Pieces(tokenizer_for(tokens, 300, known, known))
    asked = Pieces(plain.tokenizer, special=True)
    assert plain.end not in plain.encode(text)
    assert asked.encode(text).tolist().count(plain.end) == 1
    assert plain.end not in plain.encode(text)  # one does not turn the other
    assert len(plain.word_starts(text)) == len(plain.encode(text)) > len(asked.encode(text))
    plain.save(tmp_path)
    assert Pieces.load(tmp_path).encode(text).equal(plain.encode(text))
    if tokens != "word_pieces":
        assert plain.decode(plain.encode(text)) == text


def test_texts_to_classify_hold_no_special_tokens_of_their_own() -> None:
    tokenizer = tokenizer_for("word_pieces", 300, TRAIN, TRAIN)
    known = TokenizerVocabulary(tokenizer, 20)
    assert tokenizer.sep_token_id in tokenizer("a [SEP] b")["input_ids"]
    assert tokenizer.sep_token_id not in known.encode(("a [SEP] b",))


def test_a_hub_out_of_reach_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "formers.tasks.corpus.tokenizer_kinds"
    monkeypatch.setattr(f"{module}.hub_trouble", lambda: "no network")
    with pytest.raises(FileNotFoundError, match=r"from 'some/tokenizer': no network\. Give"):
        tokenizer_for("some/tokenizer", 0, [], [])
