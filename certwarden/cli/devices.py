"""What a person does with a client certificate on each kind of device, in a few plain lines.

Which device takes which form is known from reports of its users; the forms themselves are made in
`pki.bundles`.
"""

from collections.abc import Mapping
from pathlib import Path

from certwarden.pki.bundles import BundleFormat

_ANDROID = """\
  Android {which}: Settings > Security > Encryption & credentials > Install a certificate >
    VPN & app user certificate; the phone needs a screen lock. Chrome asks which one to show."""
_STEPS: Mapping[BundleFormat, str] = {
    BundleFormat.P12: f"""\
  Firefox: Settings > Privacy & Security > View Certificates > Your Certificates > Import.
  Chrome on Linux: chrome://certificate-manager > Your certificates > Import.
  Windows (Chrome, Edge): open the file, choose Current User, keep to what is proposed.
  macOS 15 and later: open the file; it goes into the login keychain.
{_ANDROID.format(which="14 and later")}
  An older phone or Mac calls the password wrong: it needs --format p12-legacy.
  An iPhone or iPad takes --format mobileconfig best.""",
    BundleFormat.P12_LEGACY: f"""\
  iPhone and iPad up to iOS 17: send the file by AirDrop or mail, open it, then Settings >
    Profile Downloaded > Install. Only Safari can use it.
{_ANDROID.format(which="up to 13")}
  macOS up to 14: open the file; it goes into the login keychain.
  Its encryption is weak by today's measure: delete the file once it is imported.""",
    BundleFormat.MOBILECONFIG: """\
  iPhone and iPad: send the file by AirDrop or mail, open it, then Settings > Profile Downloaded >
    Install, and type the password. Only Safari can use it.
  Mac: open the file, then System Settings > Device Management > the profile > Install.""",
    BundleFormat.PEM: """\
  curl: curl --cert {path} https://… (it asks for the password).
  mosquitto: mosquitto_pub --cert {path} --key {path} … (it asks for the password).
  A program that cannot ask for a password makes its own key: see --csr.""",
}
_NEVER_TRUST = "  No device needs the CA's own certificate: never install or trust that."


def device_steps(form: BundleFormat, path: Path) -> str:
    """The steps for the devices that take this form; `path` is the file to import."""
    return "\n".join((_STEPS[form].replace("{path}", str(path)), _NEVER_TRUST))


def certificate_steps(path: Path) -> str:
    """The same for a certificate whose key the client has made itself."""
    return f"  {path} belongs beside the key that the request was made with.\n{_NEVER_TRUST}"
