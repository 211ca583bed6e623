"""How steps are computed: the device, the precision, and what is traded for memory or time. The same for all arms."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from formers.part import check_names, quoted

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]
_MOST = 1 << 20
"""Parts of a batch that nobody means: more is a slip."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How an arm's steps are computed.

    The precision decides what comes out, so it is part of what identifies a study unless it is fp32. With the other
    attributes results are the same up to rounding; rows and checkpoints say which there were.

    Attributes:
        device: auto, a GPU where there is one; cpu; or cuda, which is an error without one.
        precision: of products, in training and in tests: fp32; bf16 or fp16 under autocast, with weights, sums and
            optimizer in float32. fp16 scales its losses, and is for GPUs.
        compile: compile the model for training with torch.compile.
        accumulate: parts that a batch is cut into, one after the other, whose gradients are added up: less memory.
        checkpointing: compute layers again in the backward pass instead of keeping what they computed: less memory.

    Raises:
        TypeError, ValueError: for what is none of these.
    """

    device: Device = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    accumulate: int = 1
    checkpointing: bool = False

    def __post_init__(self) -> None:
        known = get_type_hints(type(self))
        for field in fields(self):
            value, kind = getattr(self, field.name), known[field.name]
            if kind in (bool, int):
                if type(value) is not kind:
                    words = "true or false" if kind is bool else "a whole number"
                    raise TypeError(f"{field.name} is {words}, but {quoted(value)} was given")
            elif value not in get_args(kind):
                check_names(field.name, [str(value)], list(get_args(kind)), word=field.name)
        if not 1 <= self.accumulate <= _MOST:
            raise ValueError(f"accumulate is a number of parts of a batch, at least 1, but {self.accumulate} was given")

    @property
    def given(self) -> dict[str, Any]:
        """The attributes that are not as they are by default."""
        default = asdict(Compute())
        return {name: value for name, value in asdict(self).items() if value != default[name]}

    @property
    def facts(self) -> dict[str, str]:
        """The attributes for rows and checkpoints, as text: those that are not as by default, without the device."""
        return {name: str(value) for name, value in self.given.items() if name != "device"}

    def check_batch(self, batch_size: int) -> None:
        """Raise ValueError for a batch that cannot be cut into equal parts."""
        if batch_size % self.accumulate:
            raise ValueError(
                f"batches of {batch_size} cannot be cut into {self.accumulate} equal parts; choose accumulate among "
                "the divisors of batch_size"
            )
