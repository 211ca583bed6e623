"""Studies: a task, arms that are compared on it, a budget for each, and their forms as text, YAML and command line."""
