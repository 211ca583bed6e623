"""Facts hidden in lines of prose, as tokens of a model: its own tokenizer's, and exactly as many as are asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from formers.evaluation.coder import EvaluationCoder
from formers.tasks.needle.facts import Fact, Hiding

_CITIES = [
    "Accra",
    "Athens",
    "Austin",
    "Bergen",
    "Berlin",
    "Bogota",
    "Boston",
    "Bremen",
    "Cairo",
    "Dakar",
    "Dallas",
    "Delhi",
    "Denver",
    "Dublin",
    "Geneva",
    "Genoa",
    "Hanoi",
    "Havana",
    "Houston",
    "Kyoto",
    "Lagos",
    "Lima",
    "Lisbon",
    "London",
    "Lyon",
    "Madrid",
    "Manila",
    "Miami",
    "Milan",
    "Nairobi",
    "Naples",
    "Oslo",
    "Oxford",
    "Paris",
    "Porto",
    "Prague",
    "Quito",
    "Riga",
    "Rome",
    "Seoul",
    "Sofia",
    "Tokyo",
    "Tunis",
    "Turin",
    "Venice",
    "Vienna",
    "Warsaw",
    "Zurich",
]
"""Keys: names that tokenizers know."""
_DIGITS = 5


@dataclass(frozen=True)
class Prompt:
    """A text that ends where the answer begins, as tokens, and the texts that the answer has to hold."""

    tokens: tuple[int, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NeedleText:
    """Prompts from the lines of a text, with facts between them: `The secret number of Lima is 58213.`

    Attributes:
        hiding: how many facts, and how they lead to each other.
        lines: the text around them.
        coder: the model's tokens.
    """

    hiding: Hiding
    lines: Sequence[str]
    coder: EvaluationCoder

    @property
    def room(self) -> int:
        """Tokens that an answer may take: so many numbers, each with what a model says around it."""
        number = len(self.coder.encode(" 58213, and", whole=False))
        return (self.hiding.values + 1) * number + 4

    def prompt(self, length: int, depth: float, seed: object) -> Prompt:
        """Return a text that has exactly `length` tokens together with `room`, the first fact asked for at a depth.

        The same seed gives the same one. Raise ValueError where the facts leave no room for lines of the text, and
        where there are fewer names than keys.
        """
        if self.hiding.names > len(_CITIES):
            raise ValueError(f"there are {len(_CITIES)} names, and {self.hiding.names} keys were asked for")
        name = f"needle/{seed}/{depth}/{length}"
        words = self._words(random.Random(f"{name}/words"))
        hidden = self.hiding.draw(random.Random(name), self.hiding.facts, None)  # says the same at any places
        told = {(fact.key, fact.content): self._tokens(words.told(fact)) for fact in hidden.facts}
        key, answers = hidden.questions[0]
        begin, question = self.coder.encode("", whole=True), self._tokens(words.question(key))
        taken = self.room + len(begin) + len(question) + sum(map(len, told.values()))
        filler = self._filler(random.Random(f"{name}/lines"), length - taken)
        if len(filler) < self.hiding.facts:
            raise ValueError(
                f"{length:,} tokens leave room for {len(filler)} lines of the text beside {self.hiding.facts} facts; "
                "ask at greater lengths, or for fewer keys"
            )
        hidden = self.hiding.draw(random.Random(name), len(filler) + 1, depth)
        at = {fact.slot: told[fact.key, fact.content] for fact in hidden.facts}
        pieces = [piece for slot, line in enumerate([*filler, []]) for piece in (at.get(slot, []), line)]
        tokens = [*begin, *chain.from_iterable(pieces), *question]
        _, answers = hidden.questions[0]
        return Prompt(tuple(tokens), tuple(words.numbers[answer] for answer in answers))

    def _words(self, stream: random.Random) -> _FactWords:
        first, last = 10 ** (_DIGITS - 1), 10**_DIGITS
        return _FactWords(
            names=stream.sample(_CITIES, self.hiding.names),
            numbers=[str(number) for number in stream.sample(range(first, last), self.hiding.contents)],
            values=self.hiding.values,
        )

    def _tokens(self, text: str) -> list[int]:
        return self.coder.encode(text, whole=False)

    def _filler(self, stream: random.Random, room: int) -> list[list[int]]:
        """Return lines of the text from a random one on, as tokens that fill the room; the first ones are cut."""
        lines, at = list[list[int]](), stream.randrange(len(self.lines))
        while room > 0:
            lines.append(self._tokens(self.lines[at % len(self.lines)] + "\n"))
            room, at = room - len(lines[-1]), at + 1
        while lines and room < 0:
            cut = min(-room, len(lines[0]))
            lines[0], room = lines[0][cut:], room + cut
            lines = lines if lines[0] else lines[1:]
        return lines


@dataclass(frozen=True, kw_only=True)
class _FactWords:
    """Facts and questions in words."""

    names: Sequence[str]
    numbers: Sequence[str]
    values: int

    def told(self, fact: Fact) -> str:
        """Return a fact."""
        name = self.names[fact.key]
        if fact.leads:
            return f"The secret number of {name} is the secret number of {self.names[fact.content]}.\n"
        number = self.numbers[fact.content]
        if self.values > 1:
            return f"One of the secret numbers of {name} is {number}.\n"
        return f"The secret number of {name} is {number}.\n"

    def question(self, key: int) -> str:
        """Return the beginning of the answer, which is the question."""
        name = self.names[key]
        return f"The secret numbers of {name} are" if self.values > 1 else f"The secret number of {name} is"
