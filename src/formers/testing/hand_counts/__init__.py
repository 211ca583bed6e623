"""Operations of each mixer counted by hand, product by product, from what its docstring says that it computes.

Sizes: D the model's width, H heads of K = V = D/H, L tokens, M features. A product of (m, k) and (k, n) is 2·m·n·k; a
backward pass has one such product for each factor that wants a gradient. `laws.counted_as_by_hand` compares.
"""

from formers.testing.hand_counts import all_pairs, buckets, chosen_pairs, sums, windows, without_scores
from formers.testing.hand_counts.count import Count, counted_by_hand, hand_count, has_hand_count, product

__all__ = [
    "Count",
    "all_pairs",
    "buckets",
    "chosen_pairs",
    "counted_by_hand",
    "hand_count",
    "has_hand_count",
    "product",
    "sums",
    "windows",
    "without_scores",
]
