"""A real text in which names come back after a long time, and which everybody has: the sources of Python's library."""

from __future__ import annotations

import hashlib
import io
import keyword
import platform
import random
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from added_memory_documents import WINDOW, Document, Plan

_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "encodings", "pydoc_data", "__pycache__"}
"""Folders of tests, of tables, and of what is no part of Python."""
_ONE_OF = 16
"""One of so many files is held out."""
_COMMON, _RARE = 1023, 1024
"""Words that have a number of their own, and numbers that all other names share."""


class _Word(NamedTuple):
    """A name, keyword or operator, or the kind of a longer token; whether it is a name."""

    text: str
    is_name: bool


class PythonFiles:
    """Each file of Python's standard library is a document of code, and one of 16, by the hash of its name, a test.

    Its tokens are Python's own: names, keywords and operators, one token for any number and any text, and the ends of
    lines and blocks; comments are left out. The 1,023 words that are most frequent in the training files have a number
    of their own, and every other name one of 1,024, by its hash. What a model can know of a name depends on where in
    the file it was last: within the tokens that all layers of the large plain model reach together (`near`), before
    these (`far`), or nowhere (`first`).
    """

    plan = Plan(
        small=(64, 2),
        large=(128, 3),
        rows=8,
        steps=(1500, 750, 2250),
        rates=(4e-3, 3e-3),
        memory=f"memorizing(window={WINDOW}, size=2048, k=32, layer=1)",
    )
    kinds = ("near", "far", "first", "rest")
    unit = "token"
    vocab_size = 1 + _COMMON + _RARE

    def __init__(self) -> None:
        files = dict(_sources(Path(sysconfig.get_path("stdlib"))))
        held_out = {name for name in files if _hash(name) % _ONE_OF == 0}
        words = {name: list(_words(text)) for name, text in files.items()}
        counts = Counter(word.text for name in words.keys() - held_out for word in words[name])
        common = sorted(counts, key=lambda text: (-counts[text], text))[:_COMMON]
        self._numbers = {text: 1 + place for place, text in enumerate(common)}
        self._train, self._test = (
            [self._document(words[name]) for name in words if (name in held_out) is test] for test in (False, True)
        )
        self.facts = {
            "python": platform.python_version(),
            "sha256": hashlib.sha256("".join(name + text for name, text in files.items()).encode()).hexdigest(),
            "training files": len(self._train),
            "training tokens": sum(len(one.kinds) for one in self._train),
            "test files": len(self._test),
        } | {
            f"test tokens, {kind}": sum(int((one.kinds == number).sum()) for one in self._test)
            for number, kind in enumerate(self.kinds)
        }

    def training(self, seed: int) -> Iterator[Document]:
        """Yield the files to train on in an order that belongs to a seed, again and again."""
        order = random.Random(seed)
        while True:
            yield from order.sample(self._train, len(self._train))

    def test(self) -> Iterator[Document]:
        """Yield the files that are held out, the longest first, so that rows that share them end together."""
        return iter(sorted(self._test, key=lambda one: -len(one.kinds)))

    def _document(self, words: list[_Word]) -> Document:
        """Return a document, which token 0 begins."""
        numbers = (self._numbers.get(text) or 1 + _COMMON + _hash(text) % _RARE for text, _ in words)
        kinds = torch.tensor(list(self._kinds_of(words)))
        return Document(torch.tensor([0, *numbers]), kinds, torch.ones_like(kinds))

    def _kinds_of(self, words: list[_Word]) -> Iterator[int]:
        near, far, first, rest = range(len(self.kinds))
        reach = WINDOW * self.plan.large[1]
        last: dict[str, int] = {}
        for place, (text, is_name) in enumerate(words):
            if not is_name:
                yield rest
                continue
            yield first if text not in last else near if place - last[text] <= reach else far
            last[text] = place


def _sources(root: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file, without those of `_LEFT_OUT` and what the build of a Python has written."""
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if _LEFT_OUT.isdisjoint(name.parts) and not name.name.startswith("_sysconfigdata"):
            with tokenize.open(file) as source:
                if text := source.read():
                    yield name.as_posix(), text


def _words(text: str) -> Iterator[_Word]:
    """Yield the tokens of a Python source."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.NAME, tokenize.OP):
            yield _Word(token.string, token.type == tokenize.NAME and not keyword.iskeyword(token.string))
        elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
            yield _Word(f"<{tokenize.tok_name[token.type]}>", False)


def _hash(text: str) -> int:
    """Return a number that a text has on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
