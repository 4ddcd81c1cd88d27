"""What a person types: parse, call, render. Only this room prints, and only it ends the process.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 something failed, 2 usage or
configuration, 3 attention needed.
"""

import atexit
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType

from certwarden.errors import ConfigError, Error, as_error, clean, visible

FAILED = 1
INTERRUPTED = 130
NEW_OBJECTS = 100_000  # after so many garbage is looked for, instead of after 700


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; an Error becomes a sentence and its hint."""
    if not sys.warnoptions:
        # They are for developers; what a stranger's certificate looks like must not print one.
        warnings.simplefilter("ignore")
    # A command is short: nearly all that it makes, the libraries above all, lives until its end.
    # Looking for garbage in it, also while Python shuts down, would take a quarter of all its time.
    gc.set_threshold(NEW_OBJECTS)
    atexit.register(gc.freeze)
    _open_streams()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
    finally:  # argparse ends by SystemExit, for `--help` as well
        is_written = _flush_streams()
    return code if is_written else code or FAILED


def _run(argv: Sequence[str]) -> int:
    import resource

    from certwarden.cli.arguments import parse

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # before anything secret is read
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    is_verbose = False
    try:
        arguments = parse(argv)
        is_verbose = arguments.verbose
        code: int = arguments.run(arguments)
    except ConfigError as error:
        for mistake in error.mistakes:
            where = f"{mistake.path}: " if mistake.path else ""
            _complain(f"{error.source}: {where}{mistake.message}")
        return error.exit_code
    except Error as error:
        _complain(error.what, error.hint)
        _explain(error, is_verbose=is_verbose)
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted; run it again to go on")
        return INTERRUPTED
    except BrokenPipeError:
        pass  # whoever read our output has gone
    except OSError as error:
        where = clean(str(error.filename or "the output could not be written"))
        _complain(f"{where}: {error.strerror or type(error).__name__}")
    except Exception as mistake:  # noqa: BLE001 - one of ours must not look like one of theirs
        _confess(mistake, argv)
    else:
        return code
    return FAILED


def _confess(mistake: Exception, argv: Sequence[str]) -> None:
    """A mistake of ours is one line, and a file for whoever can put it right."""
    from certwarden.cli.bug_report import write_bug_report

    unforeseen = as_error(mistake)
    try:
        path = write_bug_report(mistake, argv)
    except Exception:  # noqa: BLE001 - one mistake is enough
        path = None
    written = f"please report this: {path} says where it happened, without secrets"
    _complain(unforeseen.what, written if path is not None else unforeseen.hint)


def _explain(error: Error, *, is_verbose: bool) -> None:
    """Where an error came from, for who wants to know."""
    if not is_verbose:
        return
    from certwarden.cli.bug_report import cause_lines

    for line in cause_lines(error):
        print(visible(f"certwarden: from {line}"), file=sys.stderr)


def _complain(what: str, hint: str = "") -> None:
    try:
        print(visible(f"certwarden: {what}"), file=sys.stderr)
        if hint:
            print(visible(f"certwarden: hint: {hint}"), file=sys.stderr)
    except OSError:
        pass  # nobody listens; the exit code tells it


def _open_streams() -> None:
    """Makes sure that there are three streams, which can show every character somehow.

    A file of ours must never get the number of a closed stream: what is printed would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - a stream, for as long as we live
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - a stream, for as long as we live
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_streams() -> bool:
    """Whether all that was printed has been written; what could not be is let go of."""
    is_written = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            is_written = is_written and stream is sys.stderr
            # Python must not try again, and complain, when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                _complain(f"the output could not be written: {error.strerror}")
    return is_written


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """A signal ends it like Ctrl-C: what is in `finally` runs, TXT records are removed."""
    raise KeyboardInterrupt
