"""Models of text on standard yardsticks: the tasks of lm-evaluation-harness, and facts to be found in long texts."""
