"""`doctor`: every check, with its remedy."""

from argparse import Namespace
from collections.abc import Sequence

from certwarden.cli.commands import ATTENTION, DONE, open_warden, read_config
from certwarden.cli.render_doctor import show_findings
from certwarden.doctor.examination import examine, misconfigured
from certwarden.doctor.finding import Finding
from certwarden.doctor.patient import admit
from certwarden.errors import ConfigError


def doctor(arguments: Namespace) -> int:
    """Looks at everything, and changes nothing."""
    findings = _examine(arguments)
    show_findings(findings, is_json=arguments.json, is_verbose=arguments.verbose)
    return ATTENTION if any(each.needs_attention for each in findings) else DONE


def _examine(arguments: Namespace) -> Sequence[Finding]:
    try:
        config = read_config(arguments)
    except ConfigError as mistakes:
        return misconfigured(mistakes)
    with open_warden(arguments, config, is_read_only=True) as warden:
        return examine(admit(config, warden))
