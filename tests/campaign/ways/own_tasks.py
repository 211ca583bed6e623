"""Tasks in a user's own file: source that is damaged, and tasks that return what no task should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

from campaign import mutate
from campaign.stand import small_study, stand
from campaign.verdict import Nonsense, Refused, Unclear
from campaign.ways.parts import reads_back
from campaign.ways.way import way
from formers.lab import run
from formers.lab.report.json_file import to_json
from formers.tasks import parse

_SOURCE = '''"""A task of one's own."""

import torch

from formers.tasks import Evaluation, Shakespeare, TaskMetric


class Own(Shakespeare):
    """Shakespeare, with a word to say."""

    rounds: int = 2
    "How often."

    metric = TaskMetric(name="bits_per_character", label="bits", lower_is_better=True)

    def {hook}:
        {body}
'''
_HOOKS = (
    "evaluate(self, model, split='validation')",
    "references(self)",
    "samples(self, model)",
    "pictures(self, model)",
    "build(self, seed, count)",
    "base(self)",
    "data_hash(self)",
    "save(self, folder)",
    "model(self, config)",
)
_BODIES = (
    *("return None", "return 1", "return 'x'", "return []", "return {}", "return torch.ones(2)", "return b'x'"),
    *("raise ValueError('no')", "raise SystemExit(3)", "raise KeyError(1)", "1 / 0"),
    *("return Evaluation(metrics={'bits_per_character': torch.tensor(1.0)})", "return Evaluation(metrics={})"),
    *("return Evaluation(metrics={'bits_per_character': float('nan')})", "return {'a': torch.ones(1)}"),
    *("return Evaluation(metrics={'bits_per_character': 'low'})", "return ('\\x1b[31m', '[/x]')", "return [None]"),
    *("return Evaluation(metrics={'bits_per_character': 1.0}, items=(None,))", "return {'a': float('inf')}"),
    *("return {1: 2}", "return [{'input_ids': torch.arange(seed + 4), 'labels': 0}] * count", "raise Exception"),
    *("return [{'input_ids': torch.arange(4 + i % 3)} for i in range(count)]", "raise RuntimeError('two\\nlines')"),
)


def _own(rng: Random) -> str:
    return _SOURCE.format(hook=rng.choice(_HOOKS), body=rng.choice(_BODIES))


def _damaged(rng: Random) -> tuple[bytes, str]:
    text = mutate.a_text(rng, _SOURCE.format(hook=_HOOKS[1], body="return {}"))
    data = text.encode("utf-8", "surrogatepass")
    data = mutate.some_bytes(rng, data) if rng.random() < 0.2 else data
    return data, rng.choice(("", ":own", ":own(rounds=3)", mutate.a_text(rng, ":own(rounds=3, length=8)")))


@way("own files", 40, _damaged)
def enter_file(case: tuple[bytes, str], folder: Path) -> None:
    """A file that cannot be run is named."""
    data, text = case
    (folder / "own.py").write_bytes(data)
    try:
        reads_back(parse(f"{folder}/own.py{text}"))
    except (ValueError, TypeError, OSError) as error:
        if text in ("", ":own") and "own.py" not in str(error):
            raise Unclear(f"the file is not named: {error}") from error
        raise


@way("own tasks", 20, _own)
def enter_task(source: str, folder: Path) -> None:
    """A study of a task that misbehaves ends with a report, in which every arm is a row with its cause."""
    (folder / "own.py").write_text(source)
    study = small_study(stand(), folder / "study")
    task = parse(f"{folder}/own.py:own(length=16, path={str(stand() / 'words.txt')!r})")
    results = run(replace(study, task=task))
    assert to_json(results)
    if len(results.rows) != len(study.arms) or not (folder / "study" / "report.html").is_file():
        raise Nonsense("an arm without a row, or no report")
    for row in results.rows:
        if row.status != "finished":
            raise Refused(f"{row.status}: {row.cause}") if row.cause else Nonsense("a row without a cause")
