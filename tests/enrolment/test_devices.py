"""What is told from a User-Agent, and what each device is offered."""

import pytest

from certwarden.enrolment.devices import (
    FORMATS,
    GUIDES,
    Device,
    is_safari,
    is_web_view,
    offered_format,
    recognise,
)
from certwarden.enrolment.drawings import NAMES
from certwarden.pki.bundles import BundleFormat
from tests.enrolment import agents


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (agents.IPHONE, Device.IPHONE),
        (agents.IPHONE_CHROME, Device.IPHONE),
        (agents.IPHONE_IN_AN_APP, Device.IPHONE),
        (agents.OLD_IPAD, Device.IPAD),
        (agents.MAC, Device.MAC),
        (agents.MAC_CHROME, Device.MAC),
        (agents.ANDROID, Device.ANDROID),
        (agents.ANDROID_FIREFOX, Device.ANDROID),
        (agents.WINDOWS, Device.WINDOWS),
        (agents.CHROMEBOOK, Device.CHROMEOS),
        (agents.LINUX, Device.LINUX),
        (agents.LINUX_FIREFOX, Device.FIREFOX),
        (agents.MAC_FIREFOX, Device.FIREFOX),
        (agents.WINDOWS_FIREFOX, Device.FIREFOX),
        ("", Device.LINUX),
        ("curl/8.14.1", Device.LINUX),
    ],
)
def test_recognises_the_device(user_agent: str, device: Device) -> None:
    """Phones come before what they claim to be as well; who says nothing is treated as Linux."""
    assert recognise(user_agent) is device


@pytest.mark.parametrize(
    ("user_agent", "form"),
    [
        (agents.ANDROID_10, BundleFormat.P12_LEGACY),
        (agents.ANDROID_13, BundleFormat.P12_LEGACY),
        (agents.ANDROID_IN_AN_APP, BundleFormat.P12),  # Android 14
        (agents.ANDROID_FIREFOX, BundleFormat.P12),  # Android 15
        (agents.ANDROID, BundleFormat.P12),  # nothing told: a new one is likelier
        (agents.IPHONE, BundleFormat.MOBILECONFIG),
        (agents.MAC, BundleFormat.MOBILECONFIG),
        (agents.WINDOWS, BundleFormat.P12),
    ],
)
def test_offers_what_the_version_reads(user_agent: str, form: BundleFormat) -> None:
    """An Android that says it is old gets the old encryption; the "10" of Chrome says nothing."""
    assert offered_format(recognise(user_agent), user_agent) is form


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (agents.IPHONE, True),
        (agents.OLD_IPAD, True),
        (agents.MAC, True),
        (agents.IPHONE_CHROME, False),
        (agents.IPHONE_FIREFOX, False),
        (agents.IPHONE_DUCKDUCKGO, False),
        (agents.IPHONE_IN_AN_APP, False),
    ],
)
def test_knows_safari_from_those_that_imitate_it(user_agent: str, *, expected: bool) -> None:
    """An invitation is not used up in a browser that cannot install what it gets."""
    assert is_safari(user_agent) is expected


def test_knows_a_page_within_an_android_app() -> None:
    """The browsers themselves are not taken for one."""
    assert is_web_view(agents.ANDROID_IN_AN_APP)
    assert not is_web_view(agents.ANDROID)


@pytest.mark.parametrize("device", [Device.IPHONE, Device.IPAD])
def test_an_apple_device_has_files_for_apps(device: Device) -> None:
    """Its profile serves Safari alone; an app that has its own certificates takes a file."""
    assert FORMATS[device] == (
        BundleFormat.MOBILECONFIG,
        BundleFormat.P12_LEGACY,
        BundleFormat.P12,
    )


def test_every_device_has_a_guide() -> None:
    """Each has at least one form, each form steps, and each step a drawing that there is."""
    assert set(FORMATS) == set(Device)
    for guide in GUIDES.values():
        for steps in guide.values():
            assert steps
            assert {step.drawing for step in steps} <= NAMES
    assert {form for forms in FORMATS.values() for form in forms} == set(BundleFormat)
