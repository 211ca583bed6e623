"""Benchmarks of parts: time, memory and operations against a size, their growth, and where one overtakes another.

| step | where |
|---|---|
| say what to time | `plan`, `sizes`, `phases`, `subjects/` |
| time it, fairly, in rounds | `measuring/` → `results` (one `Measurement` a subject, phase and size) |
| intervals, growth, crossovers | `statistics/`, `summarize` → `summary` |
| words and cells | `value_text`, `headline`, `table` |
| show it | `charts/`, `html`, `terminal`, `csv_text`, `json_file`; `output_files` writes all of them |
"""
