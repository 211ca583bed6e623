"""The laws that a part must keep, the sites it must keep them at, and the calls that try them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import TypeAlias

from formers.part import Part, Site, warn_caller
from formers.testing import laws
from formers.testing.harness import SITE, abilities
from formers.testing.references import Reference, has_reference, with_reference
from formers.testing.sites import label, sites_of

Law: TypeAlias = Callable[[Part, Site], None]
"""`law(part, site)` returns None, or raises `AssertionError` with what moved and by how much."""

LAWS: dict[Law, frozenset[str]] = {
    laws.same_as_naive: frozenset(),
    laws.same_as_reference: frozenset({"reference"}),
    laws.cannot_see_the_future: frozenset({"causal"}),
    laws.padding_does_not_matter: frozenset(),
    laws.lengths_do_not_depend_on_padding: frozenset(),
    laws.no_tokens_are_taken: frozenset(),
    laws.no_rows_are_taken: frozenset(),
    laws.one_pass_equals_pieces: frozenset({"causal", "streaming"}),
    laws.gradients_flow_through_states: frozenset({"causal", "streaming", "state_gradients"}),
    laws.memories_stop_gradients: frozenset({"causal", "streaming", "stopped_gradients"}),
    laws.state_is_a_value: frozenset({"causal", "streaming"}),
    laws.trims_as_promised: frozenset({"causal", "streaming"}),
    laws.static_steps_equal_growing_ones: frozenset({"causal", "streaming"}),
    laws.foreign_states_raise: frozenset({"causal", "streaming"}),
    laws.empty_chunks_change_nothing: frozenset({"causal", "streaming"}),
    laws.states_leave_inference_mode: frozenset({"causal", "streaming"}),
    laws.generation_equals_recomputation: frozenset({"causal"}),
    laws.rows_are_independent: frozenset(),
    laws.packed_documents_are_separate: frozenset(),
    laws.global_tokens_are_those_of_the_row: frozenset({"global_tokens"}),
    laws.global_tokens_are_refused: frozenset(),
    laws.randomness_is_owned: frozenset(),
    laws.survives_text_and_json: frozenset(),
    laws.every_option_counts: frozenset(),
    laws.no_option_is_idle: frozenset(),
    laws.finite_in_half: frozenset(),
    laws.runs_under_autocast: frozenset(),
    laws.states_cross_autocast: frozenset({"causal", "streaming"}),
    laws.materialises_from_meta: frozenset(),
    laws.builds_in_bfloat16: frozenset(),
    laws.exports_with_any_length: frozenset({"export"}),
    laws.refuses_sizes_it_cannot_leave_open: frozenset(),
    laws.checkpointed_equals_plain: frozenset(),
    laws.every_parameter_trains: frozenset(),
    laws.saves_whole: frozenset(),
    laws.low_rank_updates_merge: frozenset(),
    laws.every_submodule_matters: frozenset(),
    laws.tokens_are_mixed: frozenset({"mixer"}),
    laws.costs_as_promised: frozenset({"mixer"}),
    laws.counted_as_by_hand: frozenset({"mixer", "hand_count"}),
    laws.takes_positions_it_declares: frozenset({"mixer"}),
    laws.positions_count_from_zero: frozenset(),
    laws.order_makes_no_difference: frozenset({"order_blind"}),
    laws.only_differences_count: frozenset(),
    laws.second_derivatives_are_right_or_refused: frozenset(),
    laws.source_is_read_by_the_formula: frozenset({"mixer", "cross"}),
    laws.source_is_read_alike_in_every_way: frozenset({"mixer", "cross"}),
    laws.decisions_follow_from_the_past: frozenset({"mixer", "causal"}),
    laws.padded_steps_move_no_decision: frozenset({"mixer", "causal", "padding"}),
}
"""Law → the abilities that demand it, all of them (`formers.testing.abilities`). A few seconds for a part, all
together."""

SLOW_LAWS: dict[Law, frozenset[str]] = {
    laws.traces_whole: frozenset(),
    laws.compiled_equals_eager: frozenset(),
    laws.exports_one_size: frozenset(),
    laws.two_ranks_equal_one: frozenset(),
}
"""Laws that take several seconds each: they compile, or start processes."""

CORE_LAWS: frozenset[Law] = frozenset(
    {
        laws.same_as_naive,
        laws.same_as_reference,
        laws.cannot_see_the_future,
        laws.padding_does_not_matter,
        laws.one_pass_equals_pieces,
        laws.state_is_a_value,
        laws.trims_as_promised,
    }
)
"""The laws on the numbers themselves: the formula, the future, padding and states."""

ANYWHERE: frozenset[Law] = frozenset(
    {
        laws.survives_text_and_json,
        laws.every_option_counts,
        laws.no_option_is_idle,
        laws.costs_as_promised,
        laws.takes_positions_it_declares,
        laws.order_makes_no_difference,
        laws.exports_with_any_length,
        laws.refuses_sizes_it_cannot_leave_open,
        laws.global_tokens_are_refused,
        laws.source_is_read_by_the_formula,
        laws.source_is_read_alike_in_every_way,
        laws.decisions_follow_from_the_past,
        laws.padded_steps_move_no_decision,
        *SLOW_LAWS,
    }
)
"""Laws that are tried at one site: they look at options and not at numbers, choose positions themselves, or are
slow."""


def laws_of(part: Part, *, slow: bool = False) -> list[Law]:
    """Return the laws that the part's abilities demand, in the order of `LAWS`; with `slow`, the slow ones after
    them."""
    can = abilities(part)
    return [law for law, needed in (LAWS | SLOW_LAWS if slow else LAWS).items() if needed <= can]


def trials_of(part: Part, *, slow: bool = False) -> list[tuple[Law, Site]]:
    """Return every law of the part with every site it is tried at."""
    return [(law, site) for law in laws_of(part, slow=slow) for site in _sites_for(law, part)]


def _sites_for(law: Law, part: Part) -> list[Site]:
    if law in ANYWHERE:
        return [SITE]
    return sites_of(part)


def broken_laws(
    part: Part, *, site: Site | None = None, slow: bool = False, only: Collection[Law] | None = None
) -> dict[str, str]:
    """Return the name of each law that the part breaks → how. Empty when it keeps them all.

    Laws are tried at this site, or at all that the part must keep them at; with `only`, those among these. An error of
    any kind is a broken law.
    """
    trials = trials_of(part, slow=slow) if site is None else [(law, site) for law in laws_of(part, slow=slow)]
    return _broken(part, [trial for trial in trials if only is None or trial[0] in only])


def _broken(part: Part, trials: Sequence[tuple[Law, Site]]) -> dict[str, str]:
    broken: dict[str, str] = {}
    for law, site in trials:
        if law.__name__ in broken:
            continue
        try:
            law(part, site)
        except Exception as error:  # whatever a part does wrong belongs in the answer
            how = str(error) if isinstance(error, AssertionError) else _error_of(part, error)
            broken[law.__name__] = how if site == SITE else f"at {label(site)}: {how}"
    return broken


def _error_of(part: Part, error: Exception) -> str:
    """Return an error with the line of the part's own file in which it came up, where that is known."""
    file = inspect.getsourcefile(type(part))
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    place = f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""
    return f"{type(error).__name__}: {error}".removesuffix(": ") + place


def _lines_of(broken: Mapping[str, str]) -> str:
    """Return a line for each broken law; laws that the same error breaks, but for numbers in it, share one."""
    groups: dict[str, list[str]] = {}
    for name, how in broken.items():
        groups.setdefault(re.sub(r"\d+", "0", how), []).append(name)
    lines = []
    for first, *others in groups.values():
        also = f" and {len(others)} more" if others else ""
        lines.append(f"  {first}{also}: {broken[first]}")
    return "\n".join(lines)


def keeps_laws(part: Part, *, site: Site | None = None) -> bool:
    """Return whether the part keeps every law but the slow ones."""
    return not broken_laws(part, site=site)


def check(
    part: Part,
    *,
    site: Site | None = None,
    slow: bool = False,
    only: Collection[Law] | None = None,
    reference: Reference | None = None,
) -> None:
    """Raise AssertionError listing every law that the part breaks: the one call that a part's own test needs.

    Args:
        site: the only one to try laws at; unless given, all that the part must keep them at.
        slow: whether to try `SLOW_LAWS`, too.
        only: laws to try among those that the part must keep, such as `CORE_LAWS`; all unless given.
        reference: an independent form of the whole part, as `formers.testing.references` describes; unless given, the
            one registered for its class. Without any, no law looks at projections or scale, and a warning says so.
    """
    with with_reference(part, reference):
        if not has_reference(part):
            warn_caller(
                f"{part} has no reference, so its projections, scale and position are compared with no formula; "
                "give check(part, reference=…), or register one: see formers.testing.references"
            )
        broken = broken_laws(part, site=site, slow=slow, only=only)
        count = len([law for law in laws_of(part, slow=slow) if only is None or law in only])
    assert not broken, f"{part} breaks {len(broken)} of {count} laws:\n{_lines_of(broken)}"
