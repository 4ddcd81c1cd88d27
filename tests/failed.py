"""The tests that failed in the last run, one a line, as pytest takes them."""

import json
import re
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main() -> None:
    """Prints them; none where there was no run, or where it came to no test."""
    if CACHE.exists():
        for each in json.loads(CACHE.read_text()):
            # pytest-xdist adds the group.
            print(re.sub(r"@[a-z0-9_-]+$", "", each))


if __name__ == "__main__":
    main()
