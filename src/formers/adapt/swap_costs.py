"""What it costs a pretrained language model when some of its layers take another attention, before any training."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from formers.adapt.use_attention import use_attention
from formers.mixers import Mixer, Softmax
from formers.part import evaluating

Progress = Callable[[int, int], object]
"""Called with the number of measurements that are done, and that of all."""


@dataclass(frozen=True)
class Swap:
    """A mixer in the place of the attention of some layers, and what the model then is.

    Attributes:
        mixer: the mixer as text; empty for the model as it is.
        layers: the numbers of the layers that run it.
        nats: mean −log p of a token.
    """

    mixer: str
    layers: tuple[int, ...]
    nats: float

    @property
    def perplexity(self) -> float:
        """exp(nats)."""
        return math.exp(self.nats)


def swap_costs(
    model: PreTrainedModel,
    ids_bl: Tensor,
    mixers: Sequence[Mixer | str],
    *,
    layers: Sequence[int] | None = None,
    file: Path | None = None,
    progress: Progress | None = None,
) -> list[Swap]:
    """Return what each mixer costs in each layer alone, and in all of them: the model as it is first, then all swaps.

    Args:
        model: a causal language model of Hugging Face's; it has its own attention again afterwards.
        ids_bl: tokens to predict, (B, L), each row on its own.
        mixers: the mixers to try.
        layers: numbers of the layers to try one by one; all unless given, none for an empty list.
        file: where each measurement is kept as it is made: the same call goes on behind the last one.
        progress: called after each measurement.

    Cost: (layers + 1)·mixers + 1 passes over the tokens.
    Raise ValueError for a file of other tokens or of another model; Unsupported for a model that does not take mixers.
    """
    depth = model.config.num_hidden_layers
    alone = range(depth) if layers is None else layers
    if wrong := [layer for layer in alone if not 0 <= layer < depth]:
        raise ValueError(f"the model has layers 0 to {depth - 1}, but {wrong[0]} was given")
    texts = [str(Mixer.parse(one) if isinstance(one, str) else one) for one in mixers]
    wanted = [("", ())] + [
        (text, which) for text in texts for which in [tuple(range(depth)), *((layer,) for layer in alone)]
    ]
    known = _Kept(file, _fingerprint(model, ids_bl))
    own = model.config._attn_implementation
    try:
        for number, (text, which) in enumerate(wanted):
            if (text, which) not in known.swaps:
                _take(model, own, text, which)
                known.add(Swap(text, which, mean_nats(model, ids_bl)))
            if progress is not None:
                progress(number + 1, len(wanted))
    finally:
        model.set_attn_implementation(own)
    return [known.swaps[key] for key in wanted]


def mean_nats(model: PreTrainedModel, ids_bl: Tensor) -> float:
    """Return the mean −log p of tokens 2…L of each row, row by row."""
    total = 0.0
    with evaluating(model):
        for ids_l in ids_bl.to(model.device):
            logits = model(input_ids=ids_l[None], use_cache=False).logits[0, :-1].float()
            total += float(cross_entropy(logits, ids_l[1:], reduction="sum"))
    return total / (len(ids_bl) * (ids_bl.shape[1] - 1))


def _take(model: PreTrainedModel, own: str, mixer: str, layers: tuple[int, ...]) -> None:
    """Let these layers run the mixer, and the others softmax over all pairs, as they always did."""
    if not mixer:
        model.set_attn_implementation(own)
        return
    depth = model.config.num_hidden_layers
    use_attention(model, [Mixer.parse(mixer) if layer in layers else Softmax() for layer in range(depth)])


class _Kept:
    """Measurements in a file of JSON lines, the first of which names what was measured."""

    def __init__(self, path: Path | None, header: dict[str, str]):
        self.path = path
        self.swaps: dict[tuple[str, tuple[int, ...]], Swap] = {}
        if path is None:
            return
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)
            return
        lines = list(_whole_lines(path))
        if not lines or lines[0] != header:
            raise ValueError(f"{path} holds measurements of another model or other tokens; give another file")
        for line in lines[1:]:
            swap = Swap(line["mixer"], tuple(line["layers"]), line["nats"])
            self.swaps[swap.mixer, swap.layers] = swap

    def add(self, swap: Swap) -> None:
        """Keep a measurement; it is on the disk when this returns."""
        self.swaps[swap.mixer, swap.layers] = swap
        if self.path is not None:
            self._append(asdict(swap))

    def _append(self, line: Mapping[str, object]) -> None:
        assert self.path is not None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Return the lines of a file; a last one that was cut off as its process died is taken off the file."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    try:
        yield from (json.loads(line) for line in whole.splitlines())
    except ValueError:
        raise ValueError(f"{path} is damaged; remove it to measure anew") from None


def _fingerprint(model: PreTrainedModel, ids_bl: Tensor) -> dict[str, str]:
    """Return hashes of the weights and the tokens."""
    weights = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        weights.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        weights.update(weight.detach().flatten()[:: max(1, weight.numel() // 1024)].cpu().float().numpy().tobytes())
    tokens = hashlib.sha256(f"{tuple(ids_bl.shape)}".encode() + ids_bl.cpu().long().numpy().tobytes())
    return {"model": weights.hexdigest(), "tokens": tokens.hexdigest()}
