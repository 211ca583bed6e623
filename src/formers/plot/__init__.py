"""Drawing tools that the report of a study and the page of a benchmark share.

| module | what it holds |
|---|---|
| `chart` | a chart: its frame, axes, series and reference lines |
| `geometry` | points, boxes, frames, SVG paths |
| `scales`, `labels` | from values to places on paper; names beside marks, moved apart |
| `looks` | colour and shape that tell series apart |
| `number_format`, `visible_text` | numbers as people read them; text without control characters |
| `fitting_table` | a table in the terminal that leaves out columns where there is no room |
| `csv_file` | CSV in which no text becomes a formula |
| `page` | templates, style, script and security policy of an HTML page that opens offline |

Templates (`*.jinja`), `page.css` and `page.js` lie beside them. Nothing here knows what is drawn.
"""
