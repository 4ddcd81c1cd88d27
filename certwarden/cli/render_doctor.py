"""What the doctor found, for people and as JSON."""

from collections.abc import Sequence

from certwarden.cli.shapes import show_json, show_line
from certwarden.doctor.finding import Finding, Result

_WORDS = {
    Result.OK: "ok",
    Result.WARNING: "WARNING",
    Result.ERROR: "ERROR",
    Result.SKIPPED: "skipped",
}
_WIDTH = max(len(word) for word in _WORDS.values())


def show_findings(findings: Sequence[Finding], *, is_json: bool, is_verbose: bool) -> None:
    """What needs attention, with its remedy; all else is counted, or shown as well if verbose."""
    if is_json:
        show_json(
            [
                {
                    "check": each.check,
                    "subject": each.subject or None,
                    "result": each.result.value,
                    "what": each.what,
                    "remedy": each.remedy or None,
                }
                for each in findings
            ]
        )
        return
    for each in findings:
        if is_verbose or each.needs_attention:
            _show(each)
    show_line(_summary(findings))


def _show(finding: Finding) -> None:
    subject = f" {finding.subject}" if finding.subject else ""
    show_line(f"{_WORDS[finding.result]:<{_WIDTH}}  {finding.check}{subject}: {finding.what}")
    if finding.remedy:
        show_line(f"{'':<{_WIDTH}}  → {finding.remedy}")


def _summary(findings: Sequence[Finding]) -> str:
    counts = {result: sum(each.result is result for each in findings) for result in Result}
    parts = [f"{counts[Result.OK]} in order"]
    if counts[Result.SKIPPED]:
        parts.append(f"{counts[Result.SKIPPED]} not looked at")
    for result, noun in ((Result.WARNING, "warning"), (Result.ERROR, "error")):
        if counts[result]:
            parts.append(f"{counts[result]} {noun}{'s' if counts[result] != 1 else ''}")
    return f"{len(findings)} finding{'s' if len(findings) != 1 else ''}: {', '.join(parts)}"
