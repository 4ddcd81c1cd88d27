"""A QR code (ISO/IEC 18004) as rows of characters, two modules high each.

Which colours they have, and whether they fit, is the terminal's business.
"""

from collections.abc import Sequence
from itertools import zip_longest

import segno

from certwarden.model import Secret

QUIET_ZONE = 4  # modules on every side (section 6.3.8)

_HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}  # upper and lower; 1 is dark


def draw(text: Secret) -> Sequence[str]:
    """The rows, as wide as each other, to be shown dark on light with the quiet zone around.

    The lowest error correction: a screen has no stains, and larger modules are read from afar.
    """
    code = segno.make(text.reveal(), error="l", micro=False, boost_error=False)
    rows = [bytes(row) for row in code.matrix_iter(border=QUIET_ZONE)]
    light = bytes(len(rows[0]))  # below the last row, as their number is odd
    return tuple(
        "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=light)
    )
