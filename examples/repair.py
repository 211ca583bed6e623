"""A trained model takes linear attention, and is repaired: what each stage brings.

    formers train shakespeare mixer=softmax --folder my-model
    python examples/repair.py my-model

The swap alone ruins the model. Attention transfer teaches the new mixers what the old attention did, layer by layer;
distillation then trains the whole model to predict what it predicted before.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from formers import CausalLM
from formers.adapt.repair import distill, transfer_attention
from formers.lab.study.budget import Budget
from formers.models import convert_weights
from formers.tasks import Shakespeare
from formers.tasks.windows import mean_nats

MIXERS = ("linear(feature=hedgehog)", "linear(feature=t2r)", "linear", "window(8)")


def repaired(teacher: CausalLM, mixer: str, rows: Tensor, held_out: Tensor, steps: int) -> dict[str, float]:
    """Return the bits per character on held-out text with the mixer in all layers, after each stage."""

    def bits(model: CausalLM) -> float:
        return mean_nats(model.eval(), held_out, rows.shape[1]) / math.log(2)

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of features that are new
        student = convert_weights(teacher, teacher.config.swap(mixer=mixer)).model
        found = {"before": bits(teacher), "swapped": bits(student)}
        budget = Budget(steps=steps, batch_size=16, learning_rate=3e-3)
        transfer_attention(teacher, student, rows, Path(folder) / "transfer", budget)
        found["transferred"] = bits(student)
        distill(teacher, student, rows, Path(folder) / "distill", budget)
        return found | {"distilled": bits(student)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder that `formers train shakespeare` has made")
    parser.add_argument("--steps", type=int, default=150, help="of each of the two stages")
    words = parser.parse_args()
    teacher = CausalLM.from_pretrained(words.model).eval()
    text = Shakespeare().text
    length = teacher.config.context_length
    rows = text.train[: len(text.train) // length * length].view(-1, length)
    torch.manual_seed(0)
    for mixer in MIXERS:
        found = repaired(teacher, mixer, rows, text.validation, words.steps)
        print(f"{mixer:26}", *(f"{stage} {bits:.3f}" for stage, bits in found.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
