"""How far LSH attention is from attention to every token, against its number of rounds.

    python examples/lsh_error.py --save lsh_error.png

Queries and keys are shared, as in Reformer (Kitaev et al. 2020, arXiv:2001.04451). Tokens lie around a few centres,
more or less closely: hashing finds what softmax would look at where attention is concentrated, and misses what it
spreads over all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from formers.mixers import Lsh
from formers.ops import bucketed_attention
from formers.part import Site

WIDTH, CENTRES = 32, 64
ROUNDS = (1, 2, 4, 8, 16)
SPREADS = (0.1, 0.3, 1.0)
"""Distance of tokens from their centre, in units of that of the centres from zero."""


def tokens(length: int, spread: float, centres: int = CENTRES) -> tuple[Tensor, Tensor]:
    """Return shared queries, 10·√K long, around random centres, and values.

    With keys of length 1, scores are 10 times a cosine.
    """
    centre = torch.randn(centres, WIDTH)[torch.randint(centres, (length,))]
    q = normalize(centre + spread * torch.randn(length, WIDTH), dim=1) * 10 * WIDTH**0.5
    return q.view(1, 1, length, WIDTH), torch.randn(1, 1, length, WIDTH)


@torch.no_grad()
def error(q: Tensor, v: Tensor, rounds: int, chunk: int) -> float:
    """Return the mean squared error of one draw of hashes, relative to the mean square of full shared-QK attention."""
    length, k = q.shape[2], normalize(q, dim=3)
    site = Site(width=WIDTH, heads=1, causal=False, context_length=length)
    bucket = Lsh(rounds=rounds, chunk=chunk).build(site).eval().hash(q)
    near = bucketed_attention(q, k, v, bucket, chunk=chunk, self_last=True)
    full = bucketed_attention(q, k, v, torch.zeros_like(bucket[:, :, :1]), chunk=length, self_last=True)
    return float((near - full).square().mean() / full.square().mean())


def study(
    rounds: tuple[int, ...] = ROUNDS, length: int = 1024, chunk: int = 64, draws: int = 8
) -> dict[float, dict[int, float]]:
    """Return the mean error for each spread and number of rounds."""
    torch.manual_seed(0)
    found: dict[float, dict[int, float]] = {}
    for spread in SPREADS:
        given = [tokens(length, spread) for _ in range(draws)]
        found[spread] = {r: sum(error(q, v, r, chunk) for q, v in given) / draws for r in rounds}
    return found


def draw(found: dict[float, dict[int, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    for spread, errors in found.items():
        axes.plot(list(errors), list(errors.values()), "o-", label=f"spread around centres {spread:g}")
    axes.set(xscale="log", yscale="log", xlabel="rounds of hashing", ylabel="squared error / square of the output")
    axes.set_xticks(ROUNDS, [str(r) for r in ROUNDS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    arguments = parser.parse_args()
    found = study()
    print("mean error relative to the square of the output\n" + f"{'rounds':12}" + "".join(f"{r:>9}" for r in ROUNDS))
    for spread, errors in found.items():
        print(f"spread {spread:<5g}" + "".join(f"{e:9.3g}" for e in errors.values()))
    if arguments.save:
        draw(found, arguments.save)


if __name__ == "__main__":
    main()
