from __future__ import annotations

from pathlib import Path

import pytest

from formers.tasks.vocabulary import Bytes, Words

TEXTS = ["The cat sat.", "The cats sat; the bat sat!", "Béla's hat"]


def spelt(words: Words, *texts: str) -> list[str]:
    return [words.pieces[i] for i in words.encode(texts)]


def test_common_words_are_whole_and_others_are_cut() -> None:
    words = Words.learn(TEXTS, 70)
    assert spelt(words, "The cat sat.") == ["the", "cat", "sat", "."]
    assert spelt(words, "batcat")[0] == "bat"
    assert "".join(piece.removeprefix("##") for piece in spelt(words, "batcat")) == "batcat"


def test_characters_of_the_texts_are_always_known() -> None:
    words = Words.learn(TEXTS, 0)
    assert spelt(words, "that") == ["t", "##h", "##a", "##t"]
    assert spelt(words, "日") == ["[UNK]"]


def test_learning_is_the_same_in_every_order() -> None:
    assert Words.learn(TEXTS, 60) == Words.learn(TEXTS[::-1], 60)
    assert len(set(Words.learn(TEXTS, 60).pieces)) == len(Words.learn(TEXTS, 60).pieces)


def test_pairs_have_a_separator_between() -> None:
    words = Words.learn(TEXTS, 70)
    assert spelt(words, "the cat", "sat") == ["the", "cat", "[SEP]", "sat"]
    assert Bytes().encode(("a", "é")) == [98, 257, 0xC3 + 1, 0xA9 + 1]
    assert max(Bytes().encode(("ÿ", "\x7f"))) < len(Bytes())


def test_a_saved_vocabulary_loads_equal(tmp_path: Path) -> None:
    words = Words.learn(TEXTS, 70)
    words.save(tmp_path)
    assert Words.load(tmp_path / "vocab.txt") == words


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_where_files_say(tmp_path: Path, end: str) -> None:
    pieces = ("[PAD]", "[UNK]", "[SEP]", "a", "\u2028", "\u0085", "\x1c", "b")
    (tmp_path / "vocab.txt").write_bytes(end.join([*pieces, ""]).encode())
    assert Words.load(tmp_path / "vocab.txt").pieces == pieces


def test_files_that_are_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no vocabulary at"):
        Words.load(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nword\n")
    with pytest.raises(ValueError, match=r"hold \[SEP\]"):
        Words.load(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_text("[UNK]\n[PAD]\n[SEP]\n")
    with pytest.raises(ValueError, match=r"must begin with \[PAD\]$"):
        Words.load(tmp_path / "vocab.txt")


def test_berts_vocabulary_gives_what_berts_tokenizer_gives(real: Path) -> None:
    from transformers import BertTokenizer

    file = real / "bert-vocab" / "vocab.txt"
    text = "Zürich's unaffable “whippersnapper”, re-entering at 10:45?\n日本 co-star's"
    bert = BertTokenizer(vocab=str(file))
    assert Words.load(file).encode((text,)) == bert.encode(text, add_special_tokens=False)
