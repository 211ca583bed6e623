"""Scores that take the place of q·k for some pairs."""

HIDDEN_SCORE = -1e30
"""The score of a hidden pair. Finite, so that a query without any key in one round gives no NaN."""
SELF_SCORE = -1e5
"""The score of a token with itself where that is the last resort; half as low as numbers go in float16."""
