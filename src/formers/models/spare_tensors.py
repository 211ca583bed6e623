"""Tensors of a static cache that is used no more, kept for a model's next one: captured graphs read them there."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakKeyDictionary, finalize

from torch import nn

from formers.models.static_cache import StaticStateCache, StaticStateLayer

Spare: TypeAlias = deque[list[StaticStateLayer]]
_SPARE: WeakKeyDictionary[nn.Module, Spare] = WeakKeyDictionary()


def lend_tensors(model: nn.Module, cache: StaticStateCache) -> None:
    """Give an empty cache the tensors of the model's last one, if nobody has that any more, and its own to the next.

    They come back when the cache is collected: one that `generate` returned keeps its own for as long as it is held,
    and two calls at once never share. Those of one cache are kept. The first pass makes new ones where they do not fit.
    """
    spare = _SPARE.setdefault(model, deque(maxlen=1))
    with suppress(IndexError):
        cache.layers[:] = spare.pop()
        cache.reset()
    finalize(cache, spare.append, cache.layers).atexit = False
