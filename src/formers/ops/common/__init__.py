"""The parts that kernels share: checks, dispatch, dtypes, padding, row indices, workspaces."""
