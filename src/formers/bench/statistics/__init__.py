"""Statistics of measured rounds that assume nothing of their distribution: intervals, growth exponents, crossovers."""
