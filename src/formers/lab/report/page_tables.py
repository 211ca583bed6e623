"""Tables and lists of the page besides the ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

from formers.lab.report.costs import MEMORY
from formers.lab.report.summary import MOST_DETAILED, StudySummary, problem
from formers.lab.store.records import Row
from formers.tasks.picture import Picture

_MAX_SAMPLES, _MAX_CHARACTERS = 3, 1500
"Samples an arm, and characters of each."
_MAX_PICTURE_CHARACTERS = 1_000_000
"Characters of all pictures on a page together."
_MAX_STEPS = 8
"Steps in the table of the learning curves."


@dataclass(frozen=True, kw_only=True)
class CurveTable:
    """The learning curves as numbers: arm → value at each of `steps`, None where it has none."""

    steps: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]


def curve_table(summary: StudySummary) -> CurveTable:
    """Return every arm's curve at up to eight of the steps that were measured, evenly chosen, the last one included."""
    steps = sorted({point.step for arm in summary.detailed for point in arm.curve})
    if len(steps) > _MAX_STEPS:
        last = len(steps) - 1
        steps = [steps[round(i * last / (_MAX_STEPS - 1))] for i in range(_MAX_STEPS)]
    curves = {arm.name: {point.step: point.value for point in arm.curve} for arm in summary.detailed if arm.curve}
    values = {name: tuple(curve.get(step) for step in steps) for name, curve in curves.items()}
    return CurveTable(steps=tuple(steps), values=values)


def differing_choices(summary: StudySummary) -> dict[str, dict[str, str]]:
    """Return axis → arm → part, for the axes on which arms differ, and for the numbers and switches of their models."""
    axes = dict.fromkeys(axis for arm in summary.arms for axis in arm.rows[0].choices)
    table = {axis: {arm.name: arm.rows[0].choices.get(axis, "") for arm in summary.arms} for axis in axes}
    return {axis: parts for axis, parts in table.items() if len(set(parts.values())) > 1} | _differing_options(summary)


def _differing_options(summary: StudySummary) -> dict[str, dict[str, str]]:
    """Return option → arm → number or switch, for those that all models have. Arms that came to no model have none."""
    configs = {arm.name: arm.rows[0].config for arm in summary.arms}
    made = [config for config in configs.values() if config]
    names = [name for name in (made[0] if made else ()) if all(_is_plain(config.get(name)) for config in made)]
    differing = [name for name in names if len({config[name] for config in made}) > 1]
    return {name: {arm: str(config.get(name, "")) for arm, config in configs.items()} for name in differing}


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, float))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Runs of one arm that failed with the same status and cause."""

    arm: str
    status: str
    cause: str
    rows: tuple[Row, ...]


def failures(summary: StudySummary) -> list[Failure]:
    """Return the runs without a result, those of one arm with the same cause together."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in summary.failures:
        groups.setdefault((row.arm, problem(row, summary.metric), row.cause), []).append(row)
    return [
        Failure(arm=arm, status=status, cause=cause, rows=tuple(rows)) for (arm, status, cause), rows in groups.items()
    ]


def samples(summary: StudySummary, shown: Container[str]) -> dict[str, list[str]]:
    """Return arm → samples of its first run that has some, shortened, for the arms in `shown`."""
    arms = [arm for arm in summary.arms if arm.name in shown]
    found = {arm.name: next((row.samples for row in arm.rows if row.samples), ()) for arm in arms}
    return {name: [_shortened(text) for text in texts[:_MAX_SAMPLES]] for name, texts in found.items() if texts}


def pictures(summary: StudySummary, shown: Container[str]) -> dict[str, tuple[Picture, ...]]:
    """Return arm → pictures of its first run that has some, for the arms in `shown`, as many as a page has room for."""
    found: dict[str, tuple[Picture, ...]] = {}
    room = _MAX_PICTURE_CHARACTERS
    for arm in (arm for arm in summary.arms if arm.name in shown):
        pictures = next((row.pictures for row in arm.rows if row.pictures), ())[:_MAX_SAMPLES]
        room -= sum(len(picture.uri) for picture in pictures)
        if pictures and room >= 0:
            found[arm.name] = pictures
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}… ({len(text)} characters in all)"


def details_sentence(summary: StudySummary) -> str:
    """Return that tables of details are of the best arms; empty where they hold all."""
    if len(summary.detailed) == len(summary.arms):
        return ""
    return f"Of the {MOST_DETAILED} best arms and the base; those of the others are in report.json."


def memory_sentence(summary: StudySummary) -> str:
    """Return what peak memory counts; where no row has any, why it is missing."""
    if any(arm.costs[MEMORY.name] is not None for arm in summary.arms):
        return (
            "Peak memory is the most bytes of tensors alive at once in training (weights, gradients, optimizer, "
            "activations), by torch’s own records; what the process took with all its libraries is in the CSV."
        )
    return "Peak memory of tensors is not in these rows." if summary.ranked else ""


def contention_sentence(summary: StudySummary) -> str:
    """Return a sentence where runs shared a machine; empty where each had it for itself."""
    ways = [
        row.environment.get("cluster") or f"jobs: {row.environment.get('jobs', '1')}" for row in summary.results.rows
    ]
    shared = [way for way in ways if way != "jobs: 1"]
    if not shared:
        return ""
    return (
        f"{len(shared)} of {len(ways)} runs shared their machine with others ({', '.join(sorted({*shared}))}), "
        "so their training times and tokens/s depend on their neighbours: compare them with care."
    )


def environments(summary: StudySummary) -> dict[str, list[tuple[str, int]]]:
    """Return name → [(value, runs that have it)]: one value where every run saw the same."""
    rows = summary.results.rows
    pairs = [(name, value) for row in rows for name, value in row.environment.items()]
    pairs += [("data", row.data_hash) for row in rows if row.data_hash]
    table: dict[str, list[tuple[str, int]]] = {}
    for (name, value), runs in Counter(pairs).items():
        table.setdefault(name, []).append((value, runs))
    return table
