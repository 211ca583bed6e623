"""The `formers` command: it parses, calls the library, and prints."""

from __future__ import annotations

import atexit
import gc
import os
import sys

NEEDS = ("typer", "rich", "yaml", "accelerate", "mlflow", "sqlalchemy", "alembic", "jinja2")


def main() -> None:
    """Run the `formers` command. Print what to install, and exit with 1, where only the library is."""
    from importlib.util import find_spec

    if missing := [name for name in NEEDS if find_spec(name) is None]:
        print(
            f"formers: the command line needs {', '.join(missing)}, which the library alone does not.\n"
            "Install it with: pip install 'formers[lab]'",
            file=sys.stderr,
        )
        raise SystemExit(1)
    # Threads that spin long while they wait slow small models down tenfold on a machine that does anything else; a
    # short spin costs up to 40 % on an idle one. GNU OpenMP reads this when torch is imported, so it has to be said
    # before.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "200")
    atexit.register(gc.freeze)  # Python's last searches for garbage take longer than a short command
    from formers.cli.app import app

    words = sys.argv[1:]
    if "--debug" in words:  # accepted after the command too, where one adds it
        words = ["--debug", *(word for word in words if word != "--debug")]
    app(words)
