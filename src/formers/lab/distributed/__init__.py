"""Processes that train one model together: ranks, models sharded over them, whole weights gathered from them."""
