"""`report`: a page to look at, in one file.

The file is there whole or not at all, 0600, of whoever called sudo; an earlier report gives way to
it, and nothing else does.
"""

from argparse import Namespace
from typing import TYPE_CHECKING

from certwarden.cli.chronicle import Chronicle
from certwarden.cli.commands import DONE, open_warden, read_config
from certwarden.cli.outputs import Outputs
from certwarden.cli.report_page import MARKER, build_page
from certwarden.cli.shapes import show_line
from certwarden.cli.status import look
from certwarden.model import Stored

if TYPE_CHECKING:
    from certwarden.wiring import Warden

EVENTS = 5000
VERSIONS = 16  # so many numbers back are looked for


def report(arguments: Namespace) -> int:
    """Writes the page; what needs attention stands in it, and does not change the exit code."""
    config = read_config(arguments)
    with Outputs() as outputs:
        output = outputs.reserve_again(arguments.out, MARKER.encode())
        with open_warden(arguments, config, is_read_only=True) as warden:
            house = look(warden, config, is_probing=True)
            versions = {
                seen.spec.name: _versions(warden, seen.stored)
                for seen in house.certificates
                if seen.stored is not None
            }
            events = warden.history.events(None, EVENTS)
        page = build_page(Chronicle(house, versions, events))
        output.write(page.encode("utf-8", "replace"))
        outputs.keep()
    show_line(f"{arguments.out} is written, for your eyes only (mode 0600)")
    return DONE


def _versions(warden: "Warden", newest: Stored) -> tuple[Stored, ...]:
    """Those that are still kept, newest first."""
    numbers = range(newest.version - 1, max(0, newest.version - VERSIONS), -1)
    older = (warden.certificates.load_version(newest.name, number) for number in numbers)
    return (newest, *(each for each in older if each is not None))
