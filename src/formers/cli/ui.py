"""`formers ui`: MLflow's own page over the rows of a study."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from formers.cli.say import say
from formers.cli.studies import chosen


def ui(
    folder: Annotated[Path | None, typer.Argument(help="A study; the newest one in studies/ without it.")] = None,
    port: Annotated[int, typer.Option(help="Of the page, on this machine only.")] = 5000,
) -> None:
    """Open MLflow's own page over the rows of a study, until Ctrl-C. Needs the extra `ui`.

    \b
    formers ui
    formers ui studies/mine --port 5001
    """
    from formers.lab.report.stored_results import DATABASE
    from formers.lab.store.database import sqlite_uri

    [place] = chosen([folder] if folder else None).values()
    if not (place / DATABASE).is_file():
        raise FileNotFoundError(f"{place} holds no {DATABASE}: it is no study, or its rows are in another store")
    if not has_page():
        say("formers: MLflow's page is not installed. Install it with: pip install 'formers[ui]'", err=True)
        raise typer.Exit(1)
    words = ["--backend-store-uri", sqlite_uri(place / DATABASE), "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *words])


def has_page() -> bool:
    """Return whether all of MLflow is installed: the small distribution that studies need has no page."""
    try:
        return bool(version("mlflow"))
    except PackageNotFoundError:
        return False
