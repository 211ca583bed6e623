"""A model as lm-evaluation-harness asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from formers.evaluation.likelihood import LikelihoodRequest, LogLikelihood, is_cut, log_likelihoods
from formers.evaluation.text_model import TextModel
from formers.evaluation.writing import Writing, continuations

Progress = Callable[[int, int], None]
"""Takes what is done, and the whole."""
_TOKENS = 256
"""Tokens that are written where a task does not say how many: the harness's own number."""


class HarnessModel:
    """Answers the three kinds of requests that tasks make: `loglikelihood`, `loglikelihood_rolling`, `generate_until`.

    It becomes an `lm_eval.api.model.LM` by `register`, so that this module does without the harness. Each answer goes
    to the cache's hook as soon as it is there: what is stopped goes on from there.

    Attributes:
        cut: requests that lost their beginning, as the model reads no text of that length.
    """

    rank, world_size = 0, 1

    def __init__(self, model: TextModel, progress: Progress | None = None) -> None:
        self.model, self.progress, self.cut = model, progress, 0
        self._hook: Any = None

    def set_cache_hook(self, hook: Any) -> None:
        """Let each answer be written down by the harness's cache."""
        self._hook = hook

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return log p of each continuation after its context, and whether it is what the model would write."""
        asked = [encoded_pair(self.model, *request.args) for request in requests]
        self.cut += sum(is_cut(self.model, one) for one in asked)
        return self._collect("loglikelihood", requests, log_likelihoods(self.model, asked))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Return log p of each whole text, of which each token is predicted once, after as many as the model reads."""
        windows = [text_windows(self.model, request.args[0]) for request in requests]
        ends = [0, *accumulated(map(len, windows))]
        owner = [text for text, own in enumerate(windows) for _ in own]
        left, nats = [len(own) for own in windows], [0.0] * len(windows)

        def whole_texts() -> Iterable[tuple[int, float]]:
            yield from ((text, 0.0) for text, (first, last) in enumerate(pairwise(ends)) if first == last)
            for number, found in log_likelihoods(self.model, [one for own in windows for one in own]):
                text = owner[number]
                nats[text] += found.nats
                left[text] -= 1
                if not left[text]:
                    yield text, nats[text]

        return self._collect("loglikelihood_rolling", requests, whole_texts())

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return what the model writes after each context; requests with other options are written apart."""
        kinds: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            kinds.setdefault(repr(request.args[1]), []).append(number)

        def texts() -> Iterable[tuple[int, str]]:
            for numbers in kinds.values():
                writing = writing_of(requests[numbers[0]].args[1])
                prompts = [self.model.coder.encode(requests[number].args[0]) for number in numbers]
                for place, written in continuations(self.model, prompts, writing):
                    self.cut += written.is_cut
                    yield numbers[place], written.text

        return self._collect("generate_until", requests, texts())

    def _collect(self, kind: str, requests: Sequence[Any], answers: Iterable[tuple[int, Any]]) -> list[Any]:
        """Return the answers in the order of the requests."""
        found: list[Any] = [None] * len(requests)
        for done, (number, answer) in enumerate(answers, 1):
            found[number] = tuple(answer) if isinstance(answer, LogLikelihood) else answer
            if self._hook is not None:
                self._hook.add_partial(kind, requests[number].args, found[number])
            if self.progress is not None:
                self.progress(done, len(requests))
        return found


def accumulated(counts: Iterable[int]) -> Iterable[int]:
    """Yield the sums of the first counts."""
    total = 0
    for count in counts:
        total += count
        yield total


def encoded_pair(model: TextModel, context: str, continuation: str) -> LikelihoodRequest:
    """Return the tokens of a continuation and of its context, as the harness cuts them.

    Spaces that end the context belong to the continuation, whose tokens are those of the whole text beyond the
    context's: a tokenizer joins a space to the word after it.
    """
    bare = context.rstrip()
    if not bare:
        return LikelihoodRequest([], model.coder.encode(context + continuation, whole=False))
    before = model.coder.encode(bare)
    whole = model.coder.encode(context + continuation)
    return LikelihoodRequest(before, whole[len(before) :])


def text_windows(model: TextModel, text: str) -> list[LikelihoodRequest]:
    """Return the pieces in which a text is predicted, each token once, after as many others as the model reads.

    The last piece, which is shorter, has what lies before it as its context, so that it is read at full length. A model
    that carries a memory reads the text as one.
    """
    ids = model.coder.encode(text, whole=False)
    step = max(1, len(ids)) if model.carries else model.length
    return [
        LikelihoodRequest(ids[max(0, min(first + step, len(ids)) - step - 1) : first], ids[first : first + step])
        for first in range(0, len(ids), step)
    ]


def writing_of(options: dict[str, Any]) -> Writing:
    """Return how to write, as a task of the harness says it."""
    from lm_eval.models.utils import normalize_gen_kwargs

    given: dict[str, Any] = dict(normalize_gen_kwargs(options, _TOKENS))
    tokens, until = given.pop("max_gen_toks"), given.pop("until", None) or []
    if not given.get("do_sample"):
        given.pop("temperature", None)  # 0, which says nothing more, and which generate() would warn of
    return Writing(tokens=tokens, until=(until,) if isinstance(until, str) else tuple(until), sampling=given)
