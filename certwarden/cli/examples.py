"""What a person types, command by command: shown at the end of `--help` and in the man page.

Each line is a command line that works as it stands on a machine that `setup` has set up, where the
configuration is closed to all but root and certwarden; it is tested to be one that the program
takes. Read only when help is asked for.
"""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": ("sudo certwarden run", "certwarden --config ./config.toml run"),
    "renew": (
        "sudo certwarden renew",
        "sudo certwarden renew home --dry-run",
        "sudo certwarden renew home --force",
    ),
    "deploy": ("sudo certwarden deploy", "sudo certwarden deploy home"),
    "plan": ("sudo certwarden plan", "sudo certwarden plan --json"),
    "status": (
        "sudo certwarden status",
        "sudo certwarden status --watch",
        "sudo certwarden status --json --offline",
    ),
    "doctor": ("sudo certwarden doctor", "sudo certwarden doctor --json"),
    "report": ("sudo certwarden report --out report.html",),
    "setup": ("sudo certwarden setup", "sudo certwarden setup --remove"),
    "history": ("sudo certwarden history", "sudo certwarden history home --limit 10"),
    "revoke": (
        "sudo certwarden revoke home --reason keyCompromise",
        "sudo certwarden revoke home --now",
    ),
    "ca": ("sudo certwarden ca init", "sudo certwarden ca show"),
    "ca init": ("sudo certwarden ca init", "sudo certwarden ca init --locked"),
    "ca unlock": ("sudo certwarden ca unlock",),
    "ca show": ("sudo certwarden ca show", "sudo certwarden ca show --json"),
    "ca crl": ("sudo certwarden ca crl > client-crl.pem",),
    "ca export": ("sudo certwarden ca export > client-ca.pem",),
    "ca renew-root": ("sudo certwarden ca renew-root",),
    "ca backup": (
        "sudo certwarden ca backup ca.backup",
        "sudo certwarden ca backup ca.backup --password-file passphrase",
    ),
    "ca restore": ("sudo certwarden ca restore ca.backup",),
    "ca import": ("sudo certwarden ca import /etc/easy-rsa/pki",),
    "client": ("sudo certwarden client issue alice-phone", "sudo certwarden client list"),
    "client issue": (
        "sudo certwarden client issue alice-phone",
        "sudo certwarden client issue alice-iphone --format mobileconfig",
        "sudo certwarden client issue --from names.txt --out clients --password-file passwords",
    ),
    "client list": ("sudo certwarden client list", "sudo certwarden client list --json"),
    "client show": ("sudo certwarden client show alice-phone",),
    "client export": ("sudo certwarden client export alice-phone > alice-phone.pem",),
    "client renew": (
        "sudo certwarden client renew alice-phone",
        "sudo certwarden client renew alice-phone --replace",
    ),
    "client invite": (
        "sudo certwarden client invite alice-phone",
        "sudo certwarden client invite bob-laptop --for 2d --host pi.example.org",
        "sudo certwarden client invite thermometer --est --json",
    ),
    "client receive": ("sudo certwarden client receive",),
    "client revoke": (
        "sudo certwarden client revoke alice-phone",
        "sudo certwarden client revoke 0a:1b:2c --reason keyCompromise",
    ),
    "config": ("sudo certwarden config check", "sudo certwarden config show"),
    "config check": (
        "sudo certwarden config check",
        "certwarden --config ./config.toml config check",
    ),
    "config show": ("sudo certwarden config show", "sudo certwarden config show --json"),
    "nodered": ("sudo certwarden nodered inspect", "sudo certwarden nodered apply"),
    "nodered inspect": (
        "sudo certwarden nodered inspect",
        "certwarden nodered inspect /home/pi/.node-red/settings.js",
    ),
    "nodered apply": (
        "sudo certwarden nodered apply",
        "sudo certwarden nodered apply /home/pi/.node-red/settings.js --yes",
    ),
    "notify": ("sudo certwarden notify test",),
    "notify test": ("sudo certwarden notify test",),
    "notify unit-failed": ("sudo certwarden notify unit-failed certwarden.service",),
    "snippet": ("sudo certwarden snippet node-red", "sudo certwarden snippet nginx web"),
    "completion": ("certwarden completion bash > certwarden.bash", "certwarden completion zsh"),
}


def epilog(purpose: str) -> str:
    """The examples of a command, named by its words, as its help ends with them; "" for none."""
    lines = EXAMPLES.get(purpose, ())
    return "\n".join(["examples:", *(f"  {line}" for line in lines)]) if lines else ""
