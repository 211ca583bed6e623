"""Study files."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import yaml

from campaign import grammar, mutate
from campaign.verdict import Unclear, must_equal
from campaign.ways.way import way
from formers.lab import read_study, write_study

_MOST_BUILT = 8
"""Arms of a study that are built; more take longer, and find nothing else."""


def _whole(rng: Random) -> dict[str, Any]:
    mixers = [grammar.part_text(rng, "mixer") for _ in range(2)]
    return {
        "task": rng.choice(("sort(length=4)", "recall", "listops(length=16)", grammar.part_text(rng, "task"))),
        "vary": {"mixer": mixers, "position": ["none", "learned"]},
        "arms": {"dense": "mixer=dense, residual=danet", "deep": {"depth": 3, "width": 64}},
        "base": rng.choice(({"depth": 2, "width": 64}, "depth=2, width=64")),
        "budget": {"steps": 20, "batch_size": 16, "learning_rate": "2e-3", "warmup": 0.1},
        "match": rng.choice(("steps", "parameters", "flops", "time")),
        "seeds": rng.choice((3, [0, 4])),
        "shard": False,
        "folder": rng.choice((".", "studies/mine")),
    }


def _study_file(rng: Random) -> bytes:
    tree = _whole(rng)
    tree = mutate.a_tree(rng, {key: tree[key] for key in tree if key == "task" or rng.random() < 0.6})
    try:
        text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=rng.random() < 0.5)
    except (yaml.YAMLError, RecursionError):  # halves of characters, and depths that yaml itself does not write
        text = "task: sort\narms: " + "[" * 3000
    if rng.random() < 0.3:
        text = mutate.a_text(rng, text)
    data = text.encode("utf-8", "surrogatepass")
    return mutate.some_bytes(rng, data) if rng.random() < 0.2 else data


@way("study files", 140, _study_file)
def enter_file(data: bytes, folder: Path) -> None:
    path = folder / "study.yaml"
    path.write_bytes(data)
    try:
        study = read_study(path)
    except (ValueError, TypeError, OSError) as error:
        if "study.yaml" not in str(error):
            raise Unclear(f"the file is not named: {error}") from error
        raise
    (folder / "copy").mkdir()
    write_study(study, folder / "copy" / "study.yaml")
    read = read_study(folder / "copy" / "study.yaml")
    must_equal("study.yaml", {**read.to_dict(), "shard": read.shard}, {**study.to_dict(), "shard": study.shard})
    if len(study.arms) <= _MOST_BUILT:
        study.configs()
