"""Checks of what tasks return, where they return it: a wrong value is named with the task's class, file and line."""
