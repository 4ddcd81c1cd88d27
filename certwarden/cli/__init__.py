"""What a person types: parse, call, render. Only this room prints, and only it ends the process.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 something failed, 2 usage or
configuration, 3 attention needed.
"""

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from certwarden.errors import ConfigError, Error

INTERRUPTED = 130
NEW_OBJECTS = 100_000  # after so many garbage is looked for, instead of after 700


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; an Error becomes a sentence and its hint."""
    from certwarden.cli.arguments import parse

    if not sys.warnoptions:
        # They are for developers; what a stranger's certificate looks like must not print one.
        warnings.simplefilter("ignore")
    # A command is short: nearly all that it makes, the libraries above all, lives until its end.
    # Looking for garbage in it, also while Python shuts down, would take a quarter of all its time.
    gc.set_threshold(NEW_OBJECTS)
    atexit.register(gc.freeze)
    arguments = parse(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        for mistake in error.mistakes:
            where = f"{mistake.path}: " if mistake.path else ""
            print(f"certwarden: {error.source}: {where}{mistake.message}", file=sys.stderr)
        return error.exit_code
    except Error as error:
        print(f"certwarden: {error.what}", file=sys.stderr)
        if error.hint:
            print(f"certwarden: hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("certwarden: interrupted; run it again to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not look like one of theirs
        print(f"certwarden: unforeseen: {_where(error)}", file=sys.stderr)
        print("certwarden: hint: please report this sentence; nothing was lost", file=sys.stderr)
        return 1
    return code


def _where(error: Exception) -> str:
    """What kind of mistake and where; not its text, which may quote anything."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C: what is in `finally` runs, TXT records are removed."""
    raise KeyboardInterrupt
