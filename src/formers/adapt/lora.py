"""Low-rank adapters (PEFT) on a model of this library: on the projections that its parts have, and merged again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from formers.models.pretrained import FormersModel
from formers.part import Unsupported

Preset = Literal["mixer", "ffn", "all"]
"""Which projections get adapters: those of the mixers, of the feed-forwards, or of both."""


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """Adapters W + (alpha / rank)·B A, of which B starts at 0.

    Attributes:
        rank: of the product.
        alpha: its factor times the rank.
        targets: see `Preset`.

    Source: Hu et al. 2021, arXiv:2106.09685.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: Preset = "all"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, but {self.rank} was given")


def lora_targets(model: FormersModel, targets: Preset = "all") -> list[str]:
    """Return the full names of the linear layers that adapters go on, of whatever mixer and feed-forward there are.

    A mixer has its own: `q_proj` … `o_proj`, those of global tokens (`…_global`), one for queries and keys together,
    none for fourier or pool. Raise Unsupported if nothing in the model has any.
    """
    places = {"mixer": (".mixer.",), "ffn": (".ffn.",), "all": (".mixer.", ".ffn.")}[targets]
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "layers." in name and any(place in f"{name}." for place in places)
    ]
    if not names:
        mixers = model.config.choices()["mixer"]
        raise Unsupported(
            f"no {targets} of this model has a linear projection for an adapter (mixer {mixers}); give targets='all', "
            "or train all weights"
        )
    return names


def add_lora(model: FormersModel, options: LoraOptions) -> None:
    """Put adapters on a model, in place; they alone take gradients then. Raise ImportError without PEFT."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("LoRA needs PEFT: pip install 'formers[adapt]'") from error
    names = lora_targets(model, options.targets)
    inject_adapter_in_model(LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=names), model)


def merge_lora(model: nn.Module) -> None:
    """Add every adapter to the weight below it, and take it away, in place: the model is one of its class again."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge(safe_merge=True)
        model.set_submodule(name, module.get_base_layer())
