"""The charts of a report, one a file: each turns a study's summary into geometry that `formers.plot` draws."""
