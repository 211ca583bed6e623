"""The command line: the commands, and what all of them share."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from formers.cli.idle_options import refuse_idle
from formers.cli.loading import load
from formers.cli.misplaced import say_place
from formers.cli.say import check_numbers, printable_error, say
from formers.lab.train.stop import Stopped
from formers.machine.quiet_libraries import quiet_libraries


class _Command(TyperCommand):
    """A command whose numbers are finite and fit into 64 bits, and whose options all do something."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            say_place(error, self.name or "", words)
            raise

    def invoke(self, ctx: Any) -> Any:
        check_numbers(ctx.params)
        refuse_idle(ctx)
        self.prepare(ctx)
        return super().invoke(ctx)

    def prepare(self, ctx: Any) -> None:
        """Do what comes before the command itself."""


class _PartsCommand(_Command):
    """A command that knows the parts in the files that `--parts` names: it runs these files before anything else."""

    libraries: tuple[str, ...] = ()

    def prepare(self, ctx: Any) -> None:
        files = ctx.params.get("parts") or ()
        load(self.libraries if not files else ("torch", *self.libraries))
        if files:
            from formers.part import load_parts

            for file in files:
                load_parts(file)


class _TorchCommand(_PartsCommand):
    """A command that runs torch, and says that it loads it: that takes a second, or many on a cold disk."""

    libraries: tuple[str, ...] = ("torch",)


class _ModelCommand(_TorchCommand):
    """A command that runs whole models."""

    libraries = ("torch", "transformers", "formers.models")


class _CommandGroup(TyperGroup):
    """Commands that turn what a user can get wrong into one clear message and a non-zero exit."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().make_context(*args, **extra)
        except Exception as error:
            _make_printable(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Stopped as stopped:
            say(stopped, err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            own = hasattr(error, "exit_code") or isinstance(error, typer.Abort)  # the parser's, with its own messages
            if own:
                _make_printable(error)
            if own or ctx.params.get("debug"):
                raise
            say(message(error), err=True)
            raise typer.Exit(2 if expected(error) else 1) from None


def _make_printable(error: Exception) -> None:
    """Change the message of one of the parser's errors, which quotes what was typed, into one that can be shown."""
    if isinstance(text := getattr(error, "message", None), str):
        error.message = printable_error(text)  # type: ignore[attr-defined]


def expected(error: Exception) -> bool:
    """Return whether an error is about what was given, not about the program."""
    return isinstance(error, (ValueError, TypeError, OSError))


def message(error: Exception) -> str:
    """Return an error as a user reads it: its text, and for an unexpected one its type and how to see the traceback."""
    text = printable_error(str(error)) or type(error).__name__
    if expected(error):
        return f"formers: {text}"
    return f"formers: {type(error).__name__}: {text}\nThis should not happen; --debug shows where it comes from."


app = typer.Typer(
    cls=_CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from formers import __version__

        say(f"formers {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Swap any part of a Transformer, run it, and see what the swap costs.

    Start with `formers ablate shakespeare`: it compares six kinds of token mixing in a few minutes on a laptop.
    `formers bench --quick` measures what parts cost on this machine.
    `formers list` names every part, `formers show linear` explains one.
    """
    quiet_libraries()


def _load_commands() -> None:
    """Register every command. Each module imports what is heavy inside its functions, so that help is quick."""
    from formers.cli import (
        ablate,
        adapt,
        bench,
        calibrate,
        doctor,
        evaluate,
        generate,
        knn,
        listing,
        needle,
        repair,
        report,
        show,
        train,
        ui,
    )

    app.command("ablate", cls=_ModelCommand)(ablate.ablate)
    app.command("bench", cls=_TorchCommand)(bench.bench)
    app.command("adapt", cls=_ModelCommand)(adapt.adapt)
    app.command("repair", cls=_PartsCommand)(repair.repair)
    app.command("train", cls=_ModelCommand)(train.train)
    app.command("report", cls=_Command)(report.report)
    app.command("generate", cls=_ModelCommand)(generate.generate)
    app.command("calibrate", cls=_ModelCommand)(calibrate.calibrate)
    app.command("eval", cls=_ModelCommand)(evaluate.evaluate)
    app.command("needle", cls=_ModelCommand)(needle.needle)
    app.command("list", cls=_TorchCommand)(listing.list_parts)
    app.command("show", cls=_TorchCommand)(show.show)
    app.command("doctor", cls=_Command)(doctor.doctor)
    app.command("ui", cls=_Command)(ui.ui)
    neighbours = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=knn.__doc__)
    neighbours.command("build", cls=_ModelCommand)(knn.build)
    neighbours.command("tune", cls=_ModelCommand)(knn.tune)
    neighbours.command("eval", cls=_ModelCommand)(knn.evaluate)
    app.add_typer(neighbours, name="knn")


_load_commands()
