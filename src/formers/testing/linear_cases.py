"""Cases over which a form of linear attention is compared with the naive one: outputs, states and all gradients.

They run wherever the form runs: Triton's on a GPU, or on a CPU by Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from formers.ops import LinearState, accumulation_dtype, linear_attention
from formers.testing.tolerance import assert_close_derived

BATCH = 2
_PROGRAMS = "formers.ops.linear_attention.triton_grid.PROGRAMS"
_STRENGTHS = {
    "moderate": lambda gate: torch.nn.functional.logsigmoid(3 * gate),
    "strong": lambda gate: torch.where(gate > 0.5, -1e4 * gate, torch.nn.functional.logsigmoid(gate)),
    "all or nothing": lambda gate: torch.where(gate > 0.8, -1e4, 0.0),
}


@dataclass(frozen=True)
class LinearCase:
    """One call of `linear_attention`.

    Attributes:
        length, keys: tokens; as many keys as queries unless given.
        heads: H.
        features, width: M and V.
        causal, normalize, feature: as in the op.
        decay: None, "moderate", "strong" or "all or nothing".
        mask: None, "left", "interior" or "row" (the first sequence is all padding); what is masked is NaN or huge.
        state: whether there is one to start from.
        programs: how many programs a launch should have; few make segments of several chunks.
    """

    length: int
    keys: int | None = None
    heads: int = 1
    features: int = 5
    width: int = 4
    causal: bool = True
    normalize: bool = True
    feature: str = "elu"
    decay: str | None = None
    mask: str | None = None
    state: bool = True
    programs: int = 512

    def check(self, impl: str, dtype: torch.dtype, device: str = "cpu") -> None:
        """Raise AssertionError unless the form agrees with the naive one within the tolerance derived for a dtype."""
        mask = None if self.mask is None else self._mask().to(device)
        inputs = {name: t.to(device) for name, t in self._inputs().items()}
        fast, naive = self._call(impl, mask), self._call("naive", mask)
        with patch(_PROGRAMS, self.programs):
            assert_close_derived(fast, naive, list(inputs.values()), dtype=dtype, names=list(inputs))

    def _call(self, impl: str, mask_bs: Tensor | None) -> Callable[..., tuple[Tensor, ...]]:
        def run(q: Tensor, k: Tensor, v: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            optional = list(rest)
            sums = [t.to(accumulation_dtype(t.dtype)) for t in optional[:2]] if self.state else []
            y, (s, z) = linear_attention(
                q,
                k,
                v,
                causal=self.causal,
                key_mask_bs=mask_bs,
                state=LinearState(*sums) if sums else None,
                normalize=self.normalize,
                log_decay_bhl=optional[-1] if self.decay else None,
                feature=self.feature,  # type: ignore[arg-type]
                impl=impl,
            )
            return (y, s) if z is None else (y, s, z)

        return run

    def _inputs(self) -> dict[str, Tensor]:
        """Return q, k, v, the state and log g, in float64, of those that there are."""
        keys = self.length if self.keys is None else self.keys
        shapes: dict[str, tuple[int, ...]] = {
            "q": (self.length, self.features),
            "k": (keys, self.features),
            "v": (keys, self.width),
        }
        if self.state:
            shapes |= {"S": (self.features, self.width), "z": (self.features,)}
        if self.decay:
            shapes["log g"] = (self.length,)
        draw = torch.Generator().manual_seed(0)
        found = {
            name: torch.randn(BATCH, self.heads, *shape, generator=draw, dtype=torch.float64)
            for name, shape in shapes.items()
        }
        for name in ("q", "k", "z") if self.feature == "identity" and self.normalize else ("z",):
            if name in found:
                found[name] = found[name].sigmoid()
        if self.decay:
            found["log g"] = _STRENGTHS[self.decay](found["log g"])
        if self.mask is not None:
            hidden = ~self._mask()[:, None, :]
            for name in {"k", "v", "log g"} & found.keys():
                where = hidden if found[name].dim() == 3 else hidden[..., None]
                found[name] = found[name].masked_fill(where, torch.nan)
        return found

    def _mask(self) -> Tensor:
        """Return which keys are real, (B, S)."""
        keys = self.length if self.keys is None else self.keys
        at = torch.arange(keys)
        seen = {
            "left": [at > row for row in range(BATCH)],
            "interior": [at % 3 != (row + 1) % 3 for row in range(BATCH)],
            "row": [torch.full((keys,), row > 0) for row in range(BATCH)],
        }
        return torch.stack(seen[self.mask or ""])


CASES: dict[str, LinearCase] = {
    "a token": LinearCase(1, heads=2),
    "a token that decays": LinearCase(1, decay="moderate"),
    "a beginning": LinearCase(5, state=False, mask="left"),
    "a chunk": LinearCase(64, mask="row"),
    "a token more than a chunk": LinearCase(65, heads=2),
    "wide heads": LinearCase(70, features=70, width=40, feature="identity"),
    "values wider than a block": LinearCase(33, features=20, width=300 // 2, feature="relu"),
    "more than 256 features": LinearCase(40, features=260, feature="relu", mask="left"),
    "three chunks": LinearCase(150, mask="interior"),
    "three chunks, not normalised": LinearCase(150, normalize=False, feature="identity", mask="left"),
    "segments of two chunks": LinearCase(200, programs=4, feature="exp", mask="interior"),
    "segments of two chunks, not normalised": LinearCase(200, programs=4, feature="squared_relu", normalize=False),
    "segments of two chunks that decay": LinearCase(200, programs=4, decay="moderate"),
    "decay": LinearCase(100, decay="moderate", mask="interior", heads=2),
    "strong decay": LinearCase(130, decay="strong"),
    "all or nothing, not normalised": LinearCase(100, decay="all or nothing", normalize=False, feature="relu"),
    "all pairs": LinearCase(70, 41, causal=False, mask="interior", heads=2),
    "all pairs, not normalised": LinearCase(20, 90, causal=False, normalize=False, state=False, feature="identity"),
    "all pairs, squared relu": LinearCase(70, causal=False, feature="squared_relu", mask="row"),
}
"""What a form must handle, by name: cheap enough for an interpreter."""
