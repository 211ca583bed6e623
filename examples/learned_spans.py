"""Draw the spans that the heads of trained models have learned, by layer and head.

    formers ablate docs/studies/spans.yaml
    python examples/learned_spans.py studies/spans/models/* --save spans.png

Each model is a folder with a saved `CausalLM` whose mixer is `adaptive_span()`; others are left out, by name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from formers import CausalLM, Unsupported


def study(folders: list[Path]) -> dict[str, list[list[float]]]:
    """Return the spans in tokens, layer by layer and head by head, for the name of each folder that has any."""
    found = {}
    for folder in folders:
        try:
            spans = CausalLM.from_pretrained(folder).attention_spans()
        except Unsupported as error:
            print(f"{folder.name} is left out: {error}")
            continue
        found[folder.name] = [layer.tolist() for layer in spans.values()]
    return found


def draw(found: dict[str, list[list[float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    columns = min(len(found), 3)
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3.1 * columns, 0.6 + 2.3 * rows), dpi=110, layout="constrained")
    longest = max(span for layers in found.values() for heads in layers for span in heads)
    for axes, (name, layers) in zip(figure.subplots(rows, columns, squeeze=False).flat, found.items(), strict=False):
        image = axes.imshow(layers, vmin=0, vmax=longest, cmap="viridis")
        for layer, heads in enumerate(layers):
            for head, span in enumerate(heads):
                shade = "black" if span > 0.6 * longest else "white"
                axes.text(head, layer, f"{span:.0f}", ha="center", va="center", color=shade, fontsize=9)
        axes.set(xlabel="head", ylabel="layer", xticks=range(len(layers[0])), yticks=range(len(layers)))
        axes.set_title(name, fontsize=9)
    figure.colorbar(image, ax=figure.axes, label="span z, tokens", shrink=0.8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of saved models")
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    arguments = parser.parse_args()
    found = study(arguments.folders)
    if not found:
        raise SystemExit("none of these models learns spans")
    for name, layers in found.items():
        for layer, heads in enumerate(layers):
            print(f"{name:36} layer {layer}: " + " ".join(f"{span:6.1f}" for span in heads))
    if arguments.save:
        draw(found, arguments.save)


if __name__ == "__main__":
    main()
