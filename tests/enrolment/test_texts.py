"""The words of the page: the same ones in both languages."""

import re

import pytest

from certwarden.enrolment.devices import FORMATS, GUIDES, Device
from certwarden.enrolment.texts import TEXTS, Problem

PLACEHOLDER = re.compile(r"\{[^}]*\}")


def test_both_languages_say_the_same_things() -> None:
    """No text is missing from one of the tables, and they stand in the same order."""
    assert list(TEXTS["de"]) == list(TEXTS["en"])


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_no_text_is_empty_or_untidy(language: str) -> None:
    """Each has words, no double or outer blanks, and marks that come in pairs."""
    for key, text in TEXTS[language].items():
        assert text == " ".join(text.split()), key
        assert text, key
        assert text.count("*") % 2 == 0, key
        assert "**" not in text, key


def test_placeholders_match() -> None:
    """What is put into a text is put into its translation, too, and nothing else is."""
    for key, text in TEXTS["en"].items():
        wanted = PLACEHOLDER.findall(text)
        assert PLACEHOLDER.findall(TEXTS["de"][key]) == wanted, key
        assert set(wanted) <= {"{authority}"}, key


def test_nothing_was_left_in_english() -> None:
    """Only names are the same in both languages."""
    same = {key for key, text in TEXTS["en"].items() if TEXTS["de"][key] == text}
    assert all(key.startswith(("device.", "form.")) for key in same)


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_everything_has_its_words(language: str) -> None:
    """Each device, form, step and problem has a text, and each such text has its use."""
    wanted = {f"device.{device}" for device in Device}
    wanted |= {f"form.{device}.{form}" for device in Device for form in FORMATS[device]}
    wanted |= {step.text for guide in GUIDES.values() for steps in guide.values() for step in steps}
    wanted |= {f"{part}.{problem}" for problem in Problem for part in ("problem", "hint")}
    families = ("device.", "form.", "step.", "problem.", "hint.")
    assert {key for key in TEXTS[language] if key.startswith(families)} == wanted
