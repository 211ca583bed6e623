"""Execute the notebooks beside this file, and keep what they print and draw.

python docs/notebooks/run.py                    all of them, each in place
python docs/notebooks/run.py first_study        one of them
python docs/notebooks/run.py --into FOLDER      write the executed notebooks there instead
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SECONDS = 900
"""The longest that one cell may take."""


def execute(source: Path, target: Path) -> None:
    """Run a notebook in an empty folder and write it with its outputs; raise CellExecutionError where a cell fails."""
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=SECONDS, record_timing=False, resources=place).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = list(merged(without_warnings(cell.outputs)))
    nbformat.write(notebook, target)


def without_warnings(outputs: Iterable[nbformat.NotebookNode]) -> Iterable[nbformat.NotebookNode]:
    """Yield what is not the standard error of libraries, which tells of this machine and not of the notebook."""
    return (output for output in outputs if output.get("name") != "stderr")


def merged(outputs: Iterable[nbformat.NotebookNode]) -> Iterable[nbformat.NotebookNode]:
    """Yield the outputs with pieces of text that follow one another joined: how they are cut depends on the moment."""
    before = None
    for output in outputs:
        if before is not None and before.output_type == output.output_type == "stream":
            before.text += output.text
            continue
        before = output
        yield output


def main() -> None:
    """Execute the notebooks that are named, or all."""
    known = {path.stem: path for path in sorted(HERE.glob("*.ipynb"))}
    parser = argparse.ArgumentParser(description="Execute the notebooks of the documentation.")
    parser.add_argument("names", nargs="*", choices=[[], *known], help="all unless given")
    parser.add_argument("--into", type=Path, default=HERE, help="the folder to write to")
    options = parser.parse_args()
    for name in options.names or known:
        print(f"{name} …", flush=True)
        execute(known[name], options.into / f"{name}.ipynb")


if __name__ == "__main__":
    main()
