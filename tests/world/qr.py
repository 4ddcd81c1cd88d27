"""Reads a QR code off a screen, as a phone's camera does: drawn as an image, decoded by zbar.

Owns how half blocks look. Whose code it is, and what is in it, is the caller's business.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.world import tools

_DARK, _LIGHT = b"\x00", b"\xff"
_HALVES = {" ": _LIGHT + _LIGHT, "▀": _DARK + _LIGHT, "▄": _LIGHT + _DARK, "█": _DARK + _DARK}
_SCALE = 4  # pixels for a module


def read_code(rows: Sequence[str], place: Path) -> str:
    """What the code says whose rows of characters these are; its image is left in `place`."""
    picture = place / "code.pgm"
    lines = [
        b"".join(_HALVES[each][half : half + 1] * _SCALE for each in row)
        for row in rows
        for half in (0, 1)
    ]
    size = b"P5 %d %d 255\n" % (len(lines[0]), len(lines) * _SCALE)
    picture.write_bytes(size + b"".join(line * _SCALE for line in lines))
    program = tools.program("zbarimg")
    # Where it was unpacked, it looks for what reads images in the system all the same.
    unpacked = [*program.parent.parent.glob("usr/lib/*/ImageMagick-*/modules-*/coders")]
    places = {"MAGICK_CODER_MODULE_PATH": str(unpacked[0])} if unpacked else {}
    done = subprocess.run(
        [program, "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", picture],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")
