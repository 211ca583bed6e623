"""The training of one job: from its last checkpoint to a row, whatever happens."""
