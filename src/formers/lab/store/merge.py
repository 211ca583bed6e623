"""Several studies of one task as one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from formers.lab.store.records import FINAL, NOTHING_MATCHED, Results, Row

_STUDY = "study"
"""The entry of `Row.environment` that names the study which a row comes from."""

_Amounts = tuple[tuple[str, float], ...]


def merge_studies(studies: Mapping[str, Results]) -> Results:
    """Return one `Results` with the rows of all studies, given by name; the first arm of the first study is the base.

    An arm that several studies have with the same configuration and budget is one arm, with the seeds of all of them.
    A run that several have is there once: finished where it did finish somewhere, whatever their order.
    Where just the name is the same, the study's name comes after it. Every row has the name of its study in its
    environment.

    Raises:
        ValueError: for studies of different tasks, metrics or data.
    """
    if len(studies) == 1:
        return next(iter(studies.values()))
    _check_comparable(studies)
    studies = _trials_apart(studies)
    first = next(iter(studies.values()))
    budgets = {name: results.budget for name, results in studies.items()}
    matched = {results.matched for results in studies.values()}
    same_text = len(set(budgets.values())) == 1
    same_budget = same_text and len(_given_budgets(studies)) <= 1
    return replace(
        first,
        description=f"{first.description} From {len(studies)} studies: {', '.join(studies)}.",
        rows=_merge_rows(studies),
        search=_merge_search(studies),
        under=_common_limits(studies),
        references={name: value for results in studies.values() for name, value in results.references.items()},
        budget=first.budget if same_text else "; ".join(f"{name}: {budget}" for name, budget in budgets.items()),
        matched=first.matched if same_budget and len(matched) == 1 else NOTHING_MATCHED,
        at_other_lengths=next((it.at_other_lengths for it in studies.values() if it.at_other_lengths), ""),
        command="\n".join(results.command for results in studies.values() if results.command),
    )


def _check_comparable(studies: Mapping[str, Results]) -> None:
    """Raise ValueError where numbers of different studies cannot be compared."""
    facts = {
        "metric": {name: results.metric.name for name, results in studies.items()},
        "task": {name: results.title for name, results in studies.items()},
        "way to read their metric": {name: repr(results.metric) for name, results in studies.items()},
    }
    for what, values in facts.items():
        if len(set(values.values())) > 1:
            groups = {value: [name for name in values if values[name] == value] for value in values.values()}
            listed = "; ".join(f"{value}: {', '.join(names)}" for value, names in groups.items())
            raise ValueError(
                f"studies can be merged if they have the same {what}, but these have different ones: {listed}; give "
                "those of one"
            )
    data = {name: {row.data_hash for row in results.rows if row.data_hash} for name, results in studies.items()}
    if len(set().union(*data.values())) > 1:
        raise ValueError(
            f"studies can be merged if they have the same data, but these have different data: {', '.join(studies)}"
        )


def _trials_apart(studies: Mapping[str, Results]) -> Mapping[str, Results]:
    """Return the studies with the trials of larger searches named after their study, where several have such a search.

    Every search numbers its own trials, so that a number alone says nothing.
    """
    names = {study: {row.arm for row in results.search if row.search_id} for study, results in studies.items()}
    if sum(map(bool, names.values())) < 2:
        return studies

    def named(study: str, row: Row) -> Row:
        return replace(row, arm=f"{row.arm} ({study})") if row.arm in names[study] else row

    return {
        study: replace(
            results,
            rows=tuple(named(study, row) for row in results.rows),
            search=tuple(named(study, row) for row in results.search),
        )
        for study, results in studies.items()
    }


def _common_limits(studies: Mapping[str, Results]) -> dict[str, float]:
    """Return the limits of larger searches; where they differ, the cost of the first search's front, without one."""
    limits = [results.under for results in studies.values() if results.under]
    if all(under == limits[0] for under in limits):
        return dict(limits[0]) if limits else {}
    return {next(iter(limits[0])): math.inf}


def _merge_rows(studies: Mapping[str, Results]) -> tuple[Row, ...]:
    """Return the rows of all studies, arms that only share a name named apart; a run that two studies have is one."""
    variants = _variants(studies)
    merged: dict[tuple[str, int], Row] = {}
    for study, results in studies.items():
        for row in results.rows:
            arm = row.arm if len(variants[row.arm]) == 1 else f"{row.arm} ({study})"
            named = replace(row, arm=arm, environment={**row.environment, _STUDY: study})
            merged[arm, row.seed] = _furthest(merged.get((arm, row.seed)), named)
    return tuple(merged.values())


def _merge_search(studies: Mapping[str, Results]) -> tuple[Row, ...]:
    """Return the runs of all searches, arms named as in the merged rows; a run that two studies have is one."""
    variants = _variants(studies)
    merged: dict[tuple[str, str], Row] = {}
    for study, results in studies.items():
        for number, row in enumerate(results.search):
            arm = row.arm if len(variants.get(row.arm, ())) < 2 else f"{row.arm} ({study})"
            run = arm, row.fingerprint or f"{study} {number}"
            merged[run] = _furthest(merged.get(run), replace(row, arm=arm))
    return tuple(merged.values())


def _furthest(first: Row | None, second: Row) -> Row:
    """Return the one of two rows of the same run that tells more: of a tie the first one.

    That is the one which finished, with tests at more lengths; then the one that is kept when a study is started again.
    """
    return second if first is None or _told(second) > _told(first) else first


def _told(row: Row) -> tuple[bool, bool, int]:
    return row.status == "finished", row.status in FINAL, len(row.lengths)


def _amounts(row: Row, results: Results) -> _Amounts:
    """Return what a run was given, without the steps where equal time decides them; empty where its row does not tell.

    Steps at equal time depend on the machine, and differ from arm to arm and from study to study.
    """
    by_time = results.matched == "time"
    return tuple((name, value) for name, value in sorted(row.budget.items()) if not (by_time and name == "steps"))


def _given_budgets(studies: Mapping[str, Results]) -> set[_Amounts]:
    """Return the different budgets that rows tell of, without what each arm took from several values."""
    return {
        tuple((name, value) for name, value in _amounts(row, results) if name not in row.options)
        for results in studies.values()
        for row in results.rows
        if row.budget
    }


@dataclass(frozen=True)
class _Given:
    """A configuration and its budget: as text, which is the study's, and as the amounts that its row tells, if any."""

    config: object
    text: str
    amounts: _Amounts
    by_time: bool

    def is_as(self, other: _Given) -> bool:
        """Return whether both are the same; the texts may differ in what arms had to choose from."""
        if self.config != other.config:
            return False
        if self.amounts and self.amounts == other.amounts and not self.by_time:
            return True
        return self.text == other.text and self.amounts in (other.amounts, ())


def _variants(studies: Mapping[str, Results]) -> dict[str, list[object]]:
    """Return arm name → the different configurations and budgets that studies train under it.

    A row that does not tell its budget is of the first one that agrees with it in everything else. Runs with the same
    seed that are not the same experiment are different, too: the task's own code may have changed.
    """
    variants: dict[str, list[object]] = {}
    given: dict[str, list[_Given]] = {}
    experiments: dict[tuple[str, int], str] = {}
    rows = [(row, results) for results in studies.values() for row in results.rows]
    for row, results in sorted(rows, key=lambda item: not item[0].budget):  # those that tell come first
        known = given.setdefault(row.arm, [])
        told = _Given(row.config, results.budget, _amounts(row, results), results.matched == "time")
        if not any(told.is_as(other) for other in known):
            known.append(told)
    for row, _ in rows:
        variants.setdefault(row.arm, [*given[row.arm]])
        if row.fingerprint != experiments.setdefault((row.arm, row.seed), row.fingerprint):
            variants[row.arm].append(row.fingerprint)
    return variants
