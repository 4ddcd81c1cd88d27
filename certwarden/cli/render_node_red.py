"""What settings.js says, and what would be changed in it, for people and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from certwarden.cli.shapes import show_json, show_line

if TYPE_CHECKING:  # these would load what a quick command does without
    from certwarden.targets.node_red.advice import Advice
    from certwarden.targets.node_red.apply import Proposal
    from certwarden.targets.node_red.settings import Https, Inspection


def show_inspection(
    inspection: "Inspection", advice: Sequence["Advice"], contradiction: str, *, is_json: bool
) -> None:
    """What settings.js says about TLS, and what is to be done about it."""
    if is_json:
        values = asdict(inspection)
        values["settings"] = str(inspection.settings)
        values["contradiction"] = contradiction or None
        values["advice"] = [asdict(each) for each in advice]
        show_json(values)
        return
    for line in _inspection_lines(inspection, advice):
        show_line(line)


def show_proposal(proposal: "Proposal") -> None:
    """The change as `diff -u` shows it, and what is left alone."""
    if proposal.diff:
        show_line(proposal.diff)
    else:
        show_line(f"{proposal.settings} has certwarden's line already")
    for remark in proposal.remarks:
        show_line(remark)


def _inspection_lines(inspection: "Inspection", advice: Sequence["Advice"]) -> Iterator[str]:
    yield f"{inspection.settings}, run by Node.js {inspection.node or '?'}"
    https = inspection.https
    if inspection.error is None:
        if https is None or https.kind == "absent":
            yield "  https    absent: Node-RED speaks plain HTTP"
        else:
            yield from _https_lines(https, inspection.refresh_hours)
        yield f"  editor   {_editor(inspection)}"
    for attempt in inspection.blocked:
        yield f"  blocked  {attempt}"
    for each in advice:
        yield f"  {'WRONG' if each.is_grave else 'advice':<7}  {each.what}"
        yield f"           → {each.remedy}"


def _editor(inspection: "Inspection") -> str:
    if inspection.is_editor_disabled:
        return "turned off"
    return "asks for a login" if inspection.is_editor_protected else "open: it has no login"


def _https_lines(https: "Https", refresh_hours: float | None) -> Iterator[str]:
    yield f"  https    {https.kind}"
    if (line := https.certwarden) is not None:
        yield f"  module   certwarden's, reading {line.live}"
    for word, files in (("key", https.key_files), ("cert", https.certificate_files)):
        for file in files:
            mode = f" (mode {file.mode})" if file.mode else ""
            yield f"  {word:<7}  {file.realpath or file.path}{mode}"
    if https.leaf is not None:
        yield f"  leaf     {', '.join(https.leaf.names)}, until {https.leaf.not_after}"
    if line is None:
        if https.kind.startswith("function") and refresh_hours:
            yield f"  reload   by Node-RED itself, every {refresh_hours:g} h"
        else:
            yield "  reload   only by a restart"
