"""`python -m certwarden`: the same program as the `certwarden` command."""

import sys

from certwarden.cli import main

if __name__ == "__main__":
    sys.exit(main())
