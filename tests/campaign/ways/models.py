"""Folders of models: configurations and weights that are damaged, cut, or those of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

from campaign import mutate
from campaign.stand import model_folder
from campaign.verdict import Nonsense
from campaign.ways.commands import invoke
from campaign.ways.way import way
from formers.models import CausalLM

_SAFETENSORS = "model.safetensors"
_FILES = (_SAFETENSORS, _SAFETENSORS, "config.json", "characters.json", "generation_config.json")


def _damage(rng: Random) -> tuple[str, str, int]:
    return rng.choice(_FILES), rng.choice(("bytes", "head", "json", "gone", "empty", "swapped")), rng.randrange(10**9)


def _hurt(path: Path, how: str, rng: Random) -> None:
    """Damage a file of a model."""
    if how == "gone" or not path.is_file():
        path.unlink(missing_ok=True)
        return
    data = path.read_bytes()
    if path.name == _SAFETENSORS and how in ("head", "json", "swapped"):
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        if how == "swapped":
            names = rng.sample(sorted(head.keys() - {"__metadata__"}), 2)
            head[names[0]], head[names[1]] = head[names[1]], head[names[0]]
        written = mutate.as_json(head if how == "swapped" else mutate.a_tree(rng, head)).encode(
            "utf-8", "surrogatepass"
        )
        path.write_bytes(len(written).to_bytes(8, "little") + written + data[8 + size :])
    elif how == "json" and path.suffix == ".json":
        path.write_text(mutate.as_json(mutate.a_tree(rng, json.loads(data))), errors="replace")
    else:
        path.write_bytes(b"" if how == "empty" else mutate.some_bytes(rng, data))


@way("damaged models", 30, _damage)
def enter_model(case: tuple[str, str, int], folder: Path) -> None:
    """A model that is damaged is refused, or writes with numbers that are finite."""
    name, how, seed = case
    place = Path(shutil.copytree(model_folder(), folder / "model"))
    _hurt(place / name, how, Random(seed))
    invoke(["generate", str(place), "--prompt", "the", "--tokens", "3"])
    model = CausalLM.from_pretrained(place)
    if not all(weight.isfinite().all() for weight in model.state_dict().values()):
        raise Nonsense("a model whose weights are not finite wrote a text")
