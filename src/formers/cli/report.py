"""`formers report`: the report of a study again, or of several as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from formers.cli import options
from formers.cli.console import table_console
from formers.cli.running import print_path
from formers.cli.studies import chosen, chosen_results


def report(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of studies, or the report.json that each has left; the newest one in studies/ without any."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="The page; report.html in the folder, or here for several.", dir_okay=False)
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Every run as a line of CSV, too.", dir_okay=False)] = None,
    json: Annotated[Path | None, typer.Option(help="Everything as JSON, too.", dir_okay=False)] = None,
    markdown: Annotated[Path | None, typer.Option(help="The ranking as Markdown, too.", dir_okay=False)] = None,
    latex: Annotated[Path | None, typer.Option(help="The ranking as LaTeX, too.", dir_okay=False)] = None,
    live: Annotated[
        bool, typer.Option("--watch", help="Write the page again while the study runs; it reloads in the browser.")
    ] = False,
    track: options.Track = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write a study's report again, or one of several studies. It shows the rows that there are so far; several studies
    have to be of one task.

    \b
    formers report
        the newest study
    formers report studies/a studies/b --html both.html
        two studies of one task; arms that differ under one name are named apart
    formers report studies/a --csv runs.csv --markdown ranking.md --open
        the same as data, and in the browser
    formers report kept/report.json --html kept.html
        a page drawn again from the JSON of a study whose folder is gone
    formers report --watch
        the newest study, live
    """
    from formers.cli.watch import watch
    from formers.lab.report import dump, terminal_report, to_csv, to_latex, to_markdown, write_html
    from formers.lab.report.study_files import HTML, bench_figures
    from formers.lab.store.merge import merge_studies
    from formers.lab.store.trackers import check_tracker, export
    from formers.machine.files import write_atomically

    if track:
        check_tracker(track)
    if live:
        watched = [*chosen(folders).values()]
        if len(watched) > 1:
            raise ValueError(f"--watch follows one study, but {len(watched)} folders were given")
        watch(watched[0], html or watched[0] / HTML)
    studies, places = chosen_results(folders)
    place = html or (places[0] / HTML if len(places) == len(studies) == 1 else Path(HTML))
    results = merge_studies(studies)
    console = table_console()
    for part in terminal_report(results):
        console.print(part)
    figures = next((found for folder in places if (found := bench_figures(folder))), ())
    print_path("report", write_html(results, place, figures).resolve())
    if csv:
        print_path("csv", write_atomically(csv, to_csv(results)).resolve())
    if json:
        print_path("json", dump(results, json).resolve())
    if markdown:
        print_path("markdown", write_atomically(markdown, to_markdown(results)).resolve())
    if latex:
        print_path("latex", write_atomically(latex, to_latex(results)).resolve())
    if track:
        export(results, track, place.parent)
    if show:
        typer.launch(str(place.resolve()))
