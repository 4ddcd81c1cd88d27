"""The completion script for a shell, made from the command tree itself by shtab."""

from argparse import Namespace

import shtab

from certwarden.cli.arguments import parser


def completion(arguments: Namespace) -> int:
    """Prints the script."""
    print(shtab.complete(parser(), arguments.shell))
    return 0
