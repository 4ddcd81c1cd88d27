"""What a person is told to do with a bundle: for every form, about the right devices."""

from pathlib import Path

import pytest

from certwarden.cli.devices import certificate_steps, device_steps
from certwarden.pki.bundles import BundleFormat

DEVICES = {
    BundleFormat.P12: ("Firefox", "Chrome", "Windows", "Android 14", "p12-legacy", "mobileconfig"),
    BundleFormat.P12_LEGACY: ("iOS 17", "Android up to 13", "macOS up to 14"),
    BundleFormat.MOBILECONFIG: ("iPhone", "Safari"),
    BundleFormat.PEM: ("curl --cert {path}.pem", "mosquitto_pub --cert {path}.pem", "--csr"),
}


@pytest.mark.parametrize("form", BundleFormat)
def test_every_form_has_steps_for_its_devices(form: BundleFormat) -> None:
    """Filled in for the file, whatever its name; in lines that fit on a terminal."""
    steps = device_steps(form, Path("{path}.pem"))
    assert [device for device in DEVICES[form] if device not in steps] == []
    assert "{which}" not in steps
    assert max(len(line) for line in steps.splitlines()) <= 100


def test_nobody_is_told_to_trust_the_ca() -> None:
    """A device that trusts it for servers could be lied to by whoever steals its key."""
    for steps in (device_steps(BundleFormat.P12, Path("a")), certificate_steps(Path("a"))):
        assert "never install or trust" in steps
