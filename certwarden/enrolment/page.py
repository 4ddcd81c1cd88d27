"""The page on which a person fetches the certificate for the device in hand, and what goes wrong.

Plain strings, no templates: whatever a stranger could have written is escaped here. It neither
knows who is invited nor whether a token is good, so it says the same to everybody.
"""

import base64
import hashlib
import json
import re
from html import escape

from certwarden.enrolment.devices import (
    FORMATS,
    GUIDES,
    Device,
    is_safari,
    is_web_view,
    offered_format,
    recognise,
)
from certwarden.enrolment.drawings import SYMBOLS, show
from certwarden.enrolment.script import SCRIPT
from certwarden.enrolment.style import STYLE
from certwarden.enrolment.texts import TEXTS, Problem
from certwarden.errors import clean

_DEFAULT_LANGUAGE = "en"
_MAX_ACCEPT_LANGUAGE = 1000  # characters, of which no browser sends as many
_RANGE = re.compile(
    r"\s*(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?"
)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# A problem has the same policy: it holds the same style, and no script at all.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src {_digest(SCRIPT)}; style-src {_digest(STYLE)}; "
    "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def choose_language(accept_language: str, asked: str = "") -> str:
    """The language asked for, else the best of Accept-Language that there is, else English.

    RFC 9110, 12.5.4, by primary subtags: who takes `de-AT` reads German. Of two that are equally
    welcome it is the first; what is malformed is passed over.
    """
    if asked in TEXTS:
        return asked
    best, weight = _DEFAULT_LANGUAGE, 0.0
    for each in accept_language[:_MAX_ACCEPT_LANGUAGE].split(","):
        told = _RANGE.fullmatch(each)
        if told is None:
            continue
        primary = told[1].partition("-")[0].lower()
        language = _DEFAULT_LANGUAGE if primary == "*" else primary
        quality = float(told[2] or 1)
        if language in TEXTS and quality > weight:
            best, weight = language, quality
    return best


def render_page(language: str, user_agent: str, authority_name: str) -> bytes:
    """The page in UTF-8, for a CONTENT_SECURITY_POLICY; `language` is one that was chosen above."""
    device = recognise(user_agent)
    form = offered_format(device, user_agent)
    texts = TEXTS[language]
    name = clean(authority_name)

    def text(key: str) -> str:
        words = escape(texts[key].replace("{authority}", name))
        return re.sub(r"\*(.+?)\*", r"<b>\1</b>", words)

    def element(tag: str, key: str, attributes: str = "") -> str:
        spaced = f" {attributes}" if attributes else ""
        return f'<{tag}{spaced} data-text="{key}">{text(key)}</{tag}>'

    def option(value: str, key: str, chosen: str) -> str:
        selected = " selected" if value == chosen else ""
        return element("option", key, f'value="{value}"{selected}')

    devices = "".join(option(each, f"device.{each}", device) for each in Device)
    forms = "".join(option(each, f"form.{device}.{each}", form) for each in FORMATS[device])
    body = f"""\
{SYMBOLS}
<main>
<div class="bar">{show("key")}
{element("button", "other-language", 'type="button" id="switch" class="quiet" hidden')}</div>
{element("h1", "title")}
{element("p", "lead", 'id="lead"')}
<noscript><p class="card trouble">{text("noscript")}</p></noscript>
{element("p", "incomplete", 'id="incomplete" class="card trouble" hidden')}
<div id="other-browser" class="card" hidden>
{element("p", "other-browser.ipad", 'id="other-browser-words"')}
<div class="row">{element("button", "copy-link", 'type="button" id="copy-link"')}
<span id="copied-link" class="told" role="status"></span></div>
</div>
<form id="form" class="card" method="post" action="/redeem" autocomplete="off">
<input type="hidden" name="token"><input type="hidden" name="password">
<input type="hidden" name="language" value="{language}">
<div id="fields" class="fields">
<div>{element("label", "label.device", 'for="device"')}
<select id="device">{devices}</select></div>
<div id="format-field">{element("label", "label.form", 'for="format"')}
<select id="format" name="format">{forms}</select></div>
</div>
{element("button", "get", 'id="get" class="main" disabled')}
{element("p", "once", 'id="once" class="soft"')}
</form>
<p id="told" class="apart" role="status"></p>
<div id="after" hidden>
<section class="card" aria-labelledby="password-head">
{element("h2", "password", 'id="password-head" tabindex="-1" aria-describedby="password"')}
<p id="password" class="password" translate="no"></p>
<div class="row">{element("button", "copy", 'type="button" id="copy"')}
<span id="copied" class="told" role="status"></span></div>
{element("p", "password-note", 'class="soft"')}
</section>
<section class="card" aria-labelledby="steps-head">
{element("h2", "steps", 'id="steps-head"')}
<ol id="steps" role="list"></ol>
</section>
</div>
<details>{element("summary", "trouble")}
{element("p", "trouble.once")}
{element("p", "trouble.older", 'id="older"')}</details>
</main>
<script type="application/json" id="data">{_data(name, user_agent)}</script>
<script>{SCRIPT}</script>"""
    return _document(language, text("title"), body)


def render_problem(language: str, problem: Problem) -> bytes:
    """A page in UTF-8 with one sentence, and what to do about it; for the same policy."""
    texts = TEXTS[language]
    what, hint = (escape(texts[f"{part}.{problem}"]) for part in ("problem", "hint"))
    body = f"""\
{SYMBOLS}
<main>
<div class="bar">{show("key")}</div>
<div class="card trouble"><h1>{what}.</h1>
<p>{hint}</p></div>
</main>"""
    return _document(language, what, body)


def _document(language: str, title: str, body: str) -> bytes:
    text = f"""\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<meta name="format-detection" content="telephone=no">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""
    return text.encode()


def _data(authority_name: str, user_agent: str) -> str:
    """What the script works with, as JSON that cannot end the element which it stands in."""
    guides = {
        device: {
            form: [(step.drawing, step.text) for step in steps] for form, steps in guide.items()
        }
        for device, guide in GUIDES.items()
    }
    data = {
        "texts": TEXTS,
        "guides": guides,
        "authority": authority_name,
        "isSafari": is_safari(user_agent),
        "isWebView": is_web_view(user_agent),
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
