"""What it costs a pretrained language model when some of its layers take another attention, before any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from formers.adapt.attention_function import as_mixers
from formers.adapt.given_model import check_given_model
from formers.adapt.json_lines import JsonLines, hash_of_model, hash_of_tokens
from formers.adapt.use_attention import use_attention
from formers.machine.memory import is_out_of_memory
from formers.mixers import Mixer, Softmax
from formers.part import evaluating

Progress = Callable[[int, int], object]
"""Called with the number of measurements that are done, and that of all."""
Score = Callable[[PreTrainedModel, Tensor], float]
"""(model, tokens (B, L)) → its loss on them: the smaller, the better. Its name is kept with the measurements."""


@dataclass(frozen=True)
class Swap:
    """A mixer in the place of the attention of some layers, and what the model then is.

    Attributes:
        mixer: the mixer as text; empty for the model as it is.
        layers: the numbers of the layers that run it.
        nats: mean −log p of a token, or another loss; infinite where it could not be measured.
        failure: why it could not be measured; empty if it was.
    """

    mixer: str
    layers: tuple[int, ...]
    nats: float
    failure: str = ""

    @property
    def perplexity(self) -> float:
        """exp(nats)."""
        return math.exp(self.nats)


def mean_nats(model: PreTrainedModel, ids_bl: Tensor) -> float:
    """Return the mean −log p of tokens 2…L of each row, row by row."""
    total = 0.0
    with evaluating(model):
        for ids_l in ids_bl.to(model.device):
            logits = model(input_ids=ids_l[None], use_cache=False).logits[0, :-1].float()
            total += float(cross_entropy(logits, ids_l[1:], reduction="sum"))
    return total / (len(ids_bl) * (ids_bl.shape[1] - 1))


def swap_costs(
    model: PreTrainedModel,
    ids_bl: Tensor,
    mixers: Sequence[Mixer | str],
    *,
    layers: Sequence[int] | None = None,
    file: Path | None = None,
    progress: Progress | None = None,
    score: Score | None = None,
) -> list[Swap]:
    """Return what each mixer costs in each layer alone, and in all of them: the model as it is first, then all swaps.

    All that can be refused is before the first measurement.

    Args:
        model: of Hugging Face's: a causal language model, or what `score` takes; it has its own attention again
            afterwards.
        ids_bl: tokens to predict, (B, L), each row on its own; of two or more for `mean_nats`.
        mixers: the mixers to try.
        layers: numbers of the layers to try one by one; all unless given, none for an empty list.
        file: where each measurement is kept as it is made: the same call goes on behind the last one.
        progress: called after each measurement.
        score: the loss that is measured; mean −log p of a token unless given, in nats. A file knows it by its `key`, a
            text, where it has one, and else by its name.

    A swap that runs out of memory, or whose loss is not a number, is a row that says so; the next call tries it again.

    Cost: (layers + 1)·mixers + 1 passes over the tokens.
    Raise ValueError for tokens of another shape, a file of other tokens or of another model, and where the model as it
    is cannot be measured; Unsupported for a model that does not take mixers, or not one of these.
    """
    check_given_model(model)
    if ids_bl.dim() != 2 or (score is None and ids_bl.shape[1] < 2):
        raise ValueError(
            f"ids_bl has shape {tuple(ids_bl.shape)}; expected (batch, length) with 2 tokens a row or more"
        )
    wanted = _wanted(model.config.num_hidden_layers, mixers, layers)
    header = {"model": hash_of_model(model), "tokens": hash_of_tokens(ids_bl)}
    header |= {} if score is None else {"score": _key_of(score)}
    kept = JsonLines(file, header, "another model or other tokens")
    lines = (line for line in kept.lines if not line.get("failure"))
    known = {(line["mixer"], tuple(line["layers"])): line["nats"] for line in lines}
    _check_taken(model, {text for text, which in wanted if text and (text, which) not in known})
    swaps = list[Swap]()
    own = model.config._attn_implementation
    try:
        for number, (text, which) in enumerate(wanted):
            if (text, which) in known:
                swap = Swap(text, which, known[text, which])
            else:
                _take(model, own, text, which)
                swap = _measured(model, ids_bl, text, which, score or mean_nats)
                kept.add(_as_line(swap))
            swaps.append(swap)
            if progress is not None:
                progress(number + 1, len(wanted))
    finally:
        model.set_attn_implementation(own)
    return swaps


def _wanted(
    depth: int, mixers: Sequence[Mixer | str], layers: Sequence[int] | None
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the swaps to measure, (mixer, layers), without a mixer first. Raise ValueError for a layer beyond."""
    alone = range(depth) if layers is None else layers
    if wrong := [layer for layer in alone if not 0 <= layer < depth]:
        raise ValueError(f"the model has layers 0 to {depth - 1}, but {wrong[0]} was given")
    texts = [str(one) for one in as_mixers(mixers)] if mixers else []
    places = [tuple(range(depth)), *((layer,) for layer in alone)]
    return [("", ()), *((text, which) for text in texts for which in places)]


def _key_of(score: Score) -> str:
    """Return what a file knows a loss by."""
    name: str = getattr(score, "__qualname__", type(score).__qualname__)
    return str(getattr(score, "key", name))


def _check_taken(model: PreTrainedModel, mixers: Collection[str]) -> None:
    """Raise Unsupported if a model does not take one of the mixers in all layers; it keeps its own attention."""
    own = model.config._attn_implementation
    try:
        for text in sorted(mixers):
            use_attention(model, text)
    finally:
        model.set_attn_implementation(own)


def _measured(model: PreTrainedModel, ids_bl: Tensor, mixer: str, layers: tuple[int, ...], score: Score) -> Swap:
    """Return the swap that the model has, measured. Raise ValueError if it has none, and cannot be measured."""
    try:
        nats, failure = score(model, ids_bl), ""
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        nats, failure = math.inf, "out of memory"
    if not failure and not math.isfinite(nats):
        nats, failure = math.inf, f"the loss is {nats}"
    if failure and not mixer:
        raise ValueError(
            f"the model as it is cannot be measured on rows of {ids_bl.shape[1]:,} tokens ({failure}); "
            "give shorter rows"
        )
    return Swap(mixer, layers, nats, failure)


def _as_line(swap: Swap) -> dict[str, object]:
    """Return a swap as it is kept; JSON has no infinite numbers."""
    line = asdict(swap)
    if swap.failure:
        return line | {"nats": None}
    return {name: value for name, value in line.items() if name != "failure"}


def _take(model: PreTrainedModel, own: str, mixer: str, layers: tuple[int, ...]) -> None:
    """Let these layers run the mixer, and the others softmax over all pairs, as they always did."""
    if not mixer:
        model.set_attn_implementation(own)
        return
    depth = model.config.num_hidden_layers
    use_attention(model, [Mixer.parse(mixer) if layer in layers else Softmax() for layer in range(depth)])
