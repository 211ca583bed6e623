"""The plan of a study: a job for each arm and seed, once the arms are made comparable."""
