"""What a person types, command by command: shown at the end of `--help` and in the man page.

Each line is a command line that works as it stands, tested to be one that the program takes. Read
only when help is asked for.
"""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": ("certwarden run", "certwarden --config ./config.toml run"),
    "renew": (
        "certwarden renew",
        "certwarden renew home --dry-run",
        "certwarden renew home --force",
    ),
    "deploy": ("certwarden deploy", "certwarden deploy home"),
    "plan": ("certwarden plan", "certwarden plan --json"),
    "status": (
        "certwarden status",
        "certwarden status --watch",
        "certwarden status --json --offline",
    ),
    "doctor": ("sudo certwarden doctor", "certwarden doctor --json"),
    "report": ("certwarden report --out report.html",),
    "setup": ("sudo certwarden setup", "sudo certwarden setup --remove"),
    "history": ("certwarden history", "certwarden history home --limit 10"),
    "revoke": (
        "certwarden revoke home --reason keyCompromise",
        "certwarden revoke home --now",
    ),
    "ca": ("certwarden ca init", "certwarden ca show"),
    "ca init": ("certwarden ca init", "certwarden ca init --locked"),
    "ca unlock": ("certwarden ca unlock",),
    "ca show": ("certwarden ca show", "certwarden ca show --json"),
    "ca crl": ("certwarden ca crl > client-crl.pem",),
    "ca export": ("certwarden ca export > client-ca.pem",),
    "ca renew-root": ("certwarden ca renew-root",),
    "ca backup": (
        "certwarden ca backup ca.backup",
        "certwarden ca backup ca.backup --password-file passphrase",
    ),
    "ca restore": ("certwarden ca restore ca.backup",),
    "ca import": ("certwarden ca import /etc/easy-rsa/pki",),
    "client": ("certwarden client issue alice-phone", "certwarden client list"),
    "client issue": (
        "certwarden client issue alice-phone",
        "certwarden client issue alice-iphone --format mobileconfig",
        "certwarden client issue --from names.txt --out clients --password-file passwords",
    ),
    "client list": ("certwarden client list", "certwarden client list --json"),
    "client show": ("certwarden client show alice-phone",),
    "client export": ("certwarden client export alice-phone > alice-phone.pem",),
    "client renew": (
        "certwarden client renew alice-phone",
        "certwarden client renew alice-phone --replace",
    ),
    "client revoke": (
        "certwarden client revoke alice-phone",
        "certwarden client revoke 0a:1b:2c --reason keyCompromise",
    ),
    "config": ("certwarden config check", "certwarden config show"),
    "config check": ("certwarden config check", "certwarden --config ./config.toml config check"),
    "config show": ("certwarden config show", "certwarden config show --json"),
    "nodered": ("certwarden nodered inspect", "sudo certwarden nodered apply"),
    "nodered inspect": (
        "certwarden nodered inspect",
        "certwarden nodered inspect /home/pi/.node-red/settings.js",
    ),
    "nodered apply": (
        "sudo certwarden nodered apply",
        "sudo certwarden nodered apply /home/pi/.node-red/settings.js --yes",
    ),
    "notify": ("certwarden notify test",),
    "notify test": ("certwarden notify test",),
    "notify unit-failed": ("certwarden notify unit-failed certwarden.service",),
    "snippet": ("certwarden snippet node-red", "certwarden snippet nginx web"),
    "completion": ("certwarden completion bash > certwarden.bash", "certwarden completion zsh"),
}


def epilog(purpose: str) -> str:
    """The examples of a command, named by its words, as its help ends with them; "" for none."""
    lines = EXAMPLES.get(purpose, ())
    return "\n".join(["examples:", *(f"  {line}" for line in lines)]) if lines else ""
