"""The laws, one idea a file. Each is a function `law(part, site)` that raises `AssertionError` saying what moved and
how far."""

from formers.testing.laws.autocast import runs_under_autocast, states_cross_autocast
from formers.testing.laws.building import builds_in_bfloat16, materialises_from_meta
from formers.testing.laws.compiled import checkpointed_equals_plain, compiled_equals_eager, traces_whole
from formers.testing.laws.cost import costs_as_promised, counted_as_by_hand
from formers.testing.laws.cross import source_is_read_alike_in_every_way, source_is_read_by_the_formula
from formers.testing.laws.decisions import decisions_follow_from_the_past, padded_steps_move_no_decision
from formers.testing.laws.derivatives import second_derivatives_are_right_or_refused
from formers.testing.laws.export import (
    exports_one_size,
    exports_with_any_length,
    refuses_sizes_it_cannot_leave_open,
)
from formers.testing.laws.future import cannot_see_the_future
from formers.testing.laws.generation import generation_equals_recomputation
from formers.testing.laws.global_tokens import global_tokens_are_refused, global_tokens_are_those_of_the_row
from formers.testing.laws.half_precision import finite_in_half
from formers.testing.laws.idle import no_option_is_idle
from formers.testing.laws.lengths import lengths_do_not_depend_on_padding, no_rows_are_taken, no_tokens_are_taken
from formers.testing.laws.low_rank import low_rank_updates_merge
from formers.testing.laws.matters import every_submodule_matters, tokens_are_mixed
from formers.testing.laws.memory import memories_stop_gradients
from formers.testing.laws.naive import same_as_naive
from formers.testing.laws.options import every_option_counts, survives_text_and_json
from formers.testing.laws.order import (
    only_differences_count,
    order_makes_no_difference,
    positions_count_from_zero,
    takes_positions_it_declares,
)
from formers.testing.laws.packing import packed_documents_are_separate
from formers.testing.laws.padding import padding_does_not_matter
from formers.testing.laws.randomness import randomness_is_owned
from formers.testing.laws.ranks import every_parameter_trains, two_ranks_equal_one, two_ranks_equal_one_for
from formers.testing.laws.rows import rows_are_independent
from formers.testing.laws.saving import saves_whole
from formers.testing.laws.states import empty_chunks_change_nothing, foreign_states_raise, states_leave_inference_mode
from formers.testing.laws.static import static_steps_equal_growing_ones
from formers.testing.laws.streaming import (
    gradients_flow_through_states,
    one_pass_equals_pieces,
    state_is_a_value,
    trims_as_promised,
)
from formers.testing.laws.whole_part import same_as_reference

__all__ = [
    "builds_in_bfloat16",
    "cannot_see_the_future",
    "checkpointed_equals_plain",
    "compiled_equals_eager",
    "costs_as_promised",
    "counted_as_by_hand",
    "decisions_follow_from_the_past",
    "empty_chunks_change_nothing",
    "every_option_counts",
    "every_parameter_trains",
    "every_submodule_matters",
    "exports_one_size",
    "exports_with_any_length",
    "finite_in_half",
    "foreign_states_raise",
    "generation_equals_recomputation",
    "global_tokens_are_refused",
    "global_tokens_are_those_of_the_row",
    "gradients_flow_through_states",
    "lengths_do_not_depend_on_padding",
    "low_rank_updates_merge",
    "materialises_from_meta",
    "memories_stop_gradients",
    "no_option_is_idle",
    "no_rows_are_taken",
    "no_tokens_are_taken",
    "one_pass_equals_pieces",
    "only_differences_count",
    "order_makes_no_difference",
    "packed_documents_are_separate",
    "padded_steps_move_no_decision",
    "padding_does_not_matter",
    "positions_count_from_zero",
    "randomness_is_owned",
    "refuses_sizes_it_cannot_leave_open",
    "rows_are_independent",
    "runs_under_autocast",
    "same_as_naive",
    "same_as_reference",
    "saves_whole",
    "second_derivatives_are_right_or_refused",
    "source_is_read_alike_in_every_way",
    "source_is_read_by_the_formula",
    "state_is_a_value",
    "states_cross_autocast",
    "states_leave_inference_mode",
    "static_steps_equal_growing_ones",
    "survives_text_and_json",
    "takes_positions_it_declares",
    "tokens_are_mixed",
    "traces_whole",
    "trims_as_promised",
    "two_ranks_equal_one",
    "two_ranks_equal_one_for",
]
