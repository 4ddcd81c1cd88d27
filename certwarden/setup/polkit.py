"""The rule of polkit's by which certwarden may restart or reload what the configuration names.

Owns the rule's text. Which verbs systemd is really asked for is `targets.reload`'s business: those
of `UnitVerb`, and this rule allows no other. Where the service hands out certificates, its socket
may be started and stopped, too.
"""

import json

from certwarden.config import Config
from certwarden.config.syntax import unit
from certwarden.model import UnitReload
from certwarden.setup.service import USER
from certwarden.targets.door import SOCKET

RULE_PATH = "/etc/polkit-1/rules.d/50-certwarden.rules"

# polkit 122's JavaScript is that of 2009 (duktape): no arrows, no `const`, no `includes`.
_RULE = """\
// What certwarden may ask of systemd: exactly this, and nothing else. Made from the configuration
// by `certwarden snippet polkit`; belongs in {path}.
polkit.addRule(function (action, subject) {{
  if (action.id !== "org.freedesktop.systemd1.manage-units" || subject.user !== {user}) return;
  var allowed = {allowed};
  var wanted = action.lookup("verb") + " " + action.lookup("unit");
  return allowed.indexOf(wanted) >= 0 ? polkit.Result.YES : polkit.Result.NO;
}});
"""


def polkit_rule(config: Config) -> str:
    """The text of the rule, for `RULE_PATH`: JavaScript, which allows what we ask for.

    A name that is no unit's raises UnfitError; the configuration has refused it before.
    """
    wanted = {
        f"{target.reload.verb.value} {unit(target.reload.unit)}"
        for certificate in config.certificates
        for target in certificate.targets
        if isinstance(target.reload, UnitReload)
    }
    if is_inviting(config):
        wanted |= {f"{verb} {SOCKET}" for verb in ("start", "stop")}
    return _RULE.format(
        path=RULE_PATH, user=json.dumps(USER), allowed=json.dumps(sorted(wanted), indent=4)
    ).replace("\n]", "\n  ]")


def is_inviting(config: Config) -> bool:
    """Whether the service hands out certificates."""
    return config.authority is not None and config.authority.invite_listen is not None


def asks_systemd(config: Config) -> bool:
    """Whether there is anything that certwarden asks of systemd, so that it needs the rule."""
    targets = (target for certificate in config.certificates for target in certificate.targets)
    return is_inviting(config) or any(isinstance(each.reload, UnitReload) for each in targets)
