"""What kind of device a browser runs on, which files that takes, and how they are installed there.

Owns the order of steps, not their words: `texts` has those. Which device takes which file is known
from reports of users; what is guessed here, the person can change.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from certwarden.pki.bundles import BundleFormat


class Device(StrEnum):
    """A kind of device, or a browser that keeps certificates of its own."""

    IPHONE = "iphone"
    IPAD = "ipad"
    ANDROID = "android"
    MAC = "mac"
    WINDOWS = "windows"
    CHROMEOS = "chromeos"
    LINUX = "linux"
    FIREFOX = "firefox"  # on any computer


@dataclass(frozen=True)
class Step:
    """One thing to do: the name of its drawing, and the key of its text."""

    drawing: str
    text: str


_PASSWORD = Step("lock", "step.password")
_SAVE = Step("file", "step.save")
_FINISH = Step("page", "step.finish")

_APPLE_PROFILE = (
    Step("file", "step.apple.allow"),
    Step("settings", "step.apple.settings"),
    Step("profile", "step.apple.install"),
    _PASSWORD,
    Step("page", "step.apple.finish"),
)
# An app reads it as the system does: before iOS 18 the old encryption only.
_APPLE_APP = (
    Step("file", "step.apple.file"),
    Step("list", "step.apple.import"),
    _PASSWORD,
    Step("page", "step.apple.app"),
)
_APPLE_MOBILE = {
    BundleFormat.MOBILECONFIG: _APPLE_PROFILE,
    BundleFormat.P12_LEGACY: _APPLE_APP,
    BundleFormat.P12: _APPLE_APP,
}
_MAC_FILE = (
    Step("file", "step.mac.file"),
    Step("lock", "step.mac.keychain"),
    Step("page", "step.mac.finish"),
)
_ANDROID = (
    _SAVE,
    Step("settings", "step.android.settings"),
    Step("list", "step.android.install"),
    _PASSWORD,
    Step("page", "step.android.finish"),
)

# Of each device, first the form that is offered to it.
GUIDES: Mapping[Device, Mapping[BundleFormat, tuple[Step, ...]]] = {
    Device.IPHONE: _APPLE_MOBILE,
    Device.IPAD: _APPLE_MOBILE,
    Device.ANDROID: {BundleFormat.P12: _ANDROID, BundleFormat.P12_LEGACY: _ANDROID},
    Device.MAC: {
        BundleFormat.MOBILECONFIG: (
            Step("file", "step.mac.profile"),
            Step("computer", "step.mac.settings"),
            _PASSWORD,
            Step("page", "step.mac.finish"),
        ),
        BundleFormat.P12: _MAC_FILE,
        BundleFormat.P12_LEGACY: _MAC_FILE,
    },
    Device.WINDOWS: {
        BundleFormat.P12: (
            Step("file", "step.windows.open"),
            Step("list", "step.windows.user"),
            _PASSWORD,
            Step("list", "step.windows.store"),
            Step("page", "step.windows.finish"),
        ),
    },
    Device.CHROMEOS: {
        BundleFormat.P12: (
            _SAVE,
            Step("computer", "step.chrome.manager"),
            Step("list", "step.chromeos.import"),
            _PASSWORD,
            _FINISH,
        ),
    },
    Device.LINUX: {
        BundleFormat.P12: (
            _SAVE,
            Step("computer", "step.chrome.manager"),
            Step("list", "step.linux.import"),
            _PASSWORD,
            _FINISH,
        ),
        BundleFormat.PEM: (Step("file", "step.pem.save"), Step("lock", "step.pem.use")),
    },
    Device.FIREFOX: {
        BundleFormat.P12: (
            _SAVE,
            Step("computer", "step.firefox.settings"),
            Step("list", "step.firefox.import"),
            _PASSWORD,
            _FINISH,
        ),
    },
}
FORMATS: Mapping[Device, tuple[BundleFormat, ...]] = {
    device: tuple(guide) for device, guide in GUIDES.items()
}

# The first that is found decides, so what others name as well comes late.
_SIGNS = (
    ("iPhone", Device.IPHONE),
    ("iPod", Device.IPHONE),
    ("iPad", Device.IPAD),
    ("Android", Device.ANDROID),
    ("Firefox/", Device.FIREFOX),
    ("CrOS", Device.CHROMEOS),
    ("Windows", Device.WINDOWS),
    ("Macintosh", Device.MAC),
)
# Browsers and apps on iOS that say "Safari", too. Only Safari installs a profile that it gets in
# reply to a form: the others drop it, or hand on its URL (mozilla-mobile/firefox-ios#25476).
_NOT_SAFARI = re.compile(
    r"(CriOS|FxiOS|EdgiOS|OPiOS|OPT|Brave|Focus|DuckDuckGo|Ddg|GSA|YaBrowser|FBAN|FBAV|Instagram)[/;]"
)
_ANDROID_VERSION = re.compile(r"Android (\d{1,3})\b")
# What Chrome says on every Android since 110.
_REDUCED = "Android 10; K)"
_MODERN_ANDROID = 14


def recognise(user_agent: str) -> Device:
    """The device by a User-Agent; Linux where nothing is known.

    An iPad says that it is a Mac: only a script can tell the two apart.
    """
    return next((device for sign, device in _SIGNS if sign in user_agent), Device.LINUX)


def offered_format(device: Device, user_agent: str) -> BundleFormat:
    """The form for a device; the one for old Androids where the User-Agent tells that it is one."""
    told = _ANDROID_VERSION.search(user_agent)
    is_old = (
        device is Device.ANDROID
        and told is not None
        and int(told[1]) < _MODERN_ANDROID
        and _REDUCED not in user_agent
    )
    return BundleFormat.P12_LEGACY if is_old else FORMATS[device][0]


def is_safari(user_agent: str) -> bool:
    """Whether it is Safari itself, as far as iOS goes: nothing else installs profiles there."""
    is_named = "Version/" in user_agent and "Safari/" in user_agent
    return is_named and _NOT_SAFARI.search(user_agent) is None


def is_web_view(user_agent: str) -> bool:
    """Whether it is a page within an Android app, many of which lose what is downloaded."""
    return "; wv)" in user_agent
