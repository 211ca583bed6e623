"""The search of a study: what each arm tried, what it took, what that cost, and where it may have stopped too early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Row
from formers.lab.store.trials import mean_validation, trial_key
from formers.plot.number_format import duration

_SHARED = {"learning_rate": "learning rate", "batch_size": "batch size", "weight_decay": "weight decay"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One combination of options that an arm tried: its mean validation metric over seeds, and what it cost.

    Attributes:
        value: None where it did not finish with every seed; `status` then tells why.
        seconds: of training, all seeds together.
        taken: the arm is ranked with it.
    """

    options: Mapping[str, str]
    value: float | None
    status: str
    seconds: float
    taken: bool


def trials(summary: StudySummary) -> dict[str, tuple[Trial, ...]]:
    """Return arm → what it tried, in the order of the study; empty where nothing was searched."""
    rows = _rows(summary)
    values = mean_validation(rows, summary.metric)
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(trial_key(row.arm, row.options), []).append(row)
    ranked = {row.arm: row.options for row in summary.results.rows}
    found: dict[str, list[Trial]] = {}
    for group in groups.values():
        first = group[0]
        trial = Trial(
            options=first.options,
            value=values.get(trial_key(first.arm, first.options)),
            status=next((row.status for row in group if row.status != "finished"), "finished").replace("_", " "),
            seconds=sum(row.train_seconds for row in group),
            taken=ranked.get(first.arm) == first.options,
        )
        found.setdefault(first.arm, []).append(trial)
    return {arm: tuple(tried) for arm, tried in found.items()}


def _rows(summary: StudySummary) -> list[Row]:
    """Return the runs in which arms tried the values in lists; those of larger searches are elsewhere."""
    return [row for row in summary.results.search if not row.search_id]


def option_label(name: str) -> str:
    """Return the name of an option as people write it: `learning rate`."""
    return _SHARED.get(name, name)


def taken_options(summary: StudySummary) -> tuple[str, ...]:
    """Return the options in which ranked arms have taken one of several values."""
    return tuple(dict.fromkeys(name for row in summary.results.rows for name in row.options))


def option_text(row: Row, name: str) -> str:
    """Return the value of a searched option in a row, as text: what it took, or was given without a choice."""
    if name in row.options:
        return row.options[name]
    value = row.choices.get(name, row.budget.get(name, row.config.get(name, "")))
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def search_sentences(summary: StudySummary) -> tuple[str, ...]:
    """Return what was searched, with which seeds and at what cost, and which arms took the largest or smallest value.

    Empty where nothing was searched.
    """
    rows = _rows(summary)
    if not rows:
        return ()
    names = dict.fromkeys(option_label(name) for row in rows for name in row.options)
    spent, ranked = (sum(row.train_seconds for row in it) for it in (rows, summary.results.rows))
    share = f", {spent / (spent + ranked):.0%} of all training" if spent + ranked > 0 else ""
    told = f"with {seeds_text(rows, summary)}"
    cost = f"Each arm took its {' and '.join(names)} by validation, {told}: {len(rows)} runs, {duration(spent)}{share}."
    return cost.replace("%", " %"), *_edges(summary)


def seeds_text(search: Sequence[Row], summary: StudySummary) -> str:
    """Return the seeds of a search, and that they rank nothing; of merged studies, another may rank with them."""
    seeds = sorted({row.seed for row in search})
    both = sorted({*seeds} & {row.seed for row in summary.results.rows})
    several = len(seeds) > 1
    listed = f"seed{'s' if several else ''} {', '.join(map(str, seeds))}"
    if both:
        others = ", ".join(map(str, both))
        warning = f"of which {others} ranks arms of another of the studies: what was chosen is at an advantage there"
        return f"{listed}, {warning}"
    return f"{listed}, which rank{'' if several else 's'} nothing"


def numeric_options(summary: StudySummary) -> tuple[str, ...]:
    """Return the searched options whose values are numbers, at least two of them."""
    values: dict[str, set[str]] = {}
    for row in _rows(summary):
        for name, value in row.options.items():
            values.setdefault(name, set()).add(value)
    return tuple(name for name, texts in values.items() if len(texts) > 1 and all(map(_is_number, texts)))


def best_by_value(tried: tuple[Trial, ...], name: str, lower_is_better: bool) -> dict[float, Trial]:
    """Return value of an option → the best of an arm's trials with it, from small to large values."""
    best: dict[float, Trial] = {}
    for trial in tried:
        if name not in trial.options or trial.value is None:
            continue
        at = float(trial.options[name])
        known = best.get(at)
        if known is None or known.value is None or (trial.value < known.value) == lower_is_better:
            best[at] = trial
    return dict(sorted(best.items()))


def _edges(summary: StudySummary) -> tuple[str, ...]:
    """Return which arms took the first or the last number of an option, beyond which a better one may lie."""
    sentences = []
    for name in numeric_options(summary):
        tried = {
            arm: [float(it.options[name]) for it in its if name in it.options] for arm, its in trials(summary).items()
        }
        taken = {row.arm: float(row.options[name]) for row in summary.results.rows if name in row.options}
        for word, edge in (("largest", max), ("smallest", min)):
            arms = [arm for arm, values in tried.items() if values and taken.get(arm) == edge(values) != 0]
            if arms:
                verb = "takes" if len(arms) == 1 else "take"
                quoted = ", ".join(f"“{arm}”" for arm in arms[:4]) + (
                    f" and {len(arms) - 4} more" if len(arms) > 4 else ""
                )
                sentences.append(
                    f"{quoted} {verb} the {word} {option_label(name)} that was tried: a better one may lie beyond it."
                )
    return tuple(sentences)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
