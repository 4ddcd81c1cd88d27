"""`status`: the house as it is, once or again and again.

Between two looks of `--watch` nothing is held: no lock, no database.
"""

import io
import os
import shutil
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from certwarden.cli.commands import ATTENTION, DONE, open_warden, read_config
from certwarden.cli.console import Console
from certwarden.cli.outlook import House, concerns
from certwarden.cli.privilege import handed_over, settle
from certwarden.cli.render_status import status_json, status_lines
from certwarden.cli.screen import Colour, Screen, screen_of
from certwarden.cli.shapes import date_text, show_json
from certwarden.clock import SystemClock
from certwarden.config import Config
from certwarden.errors import Error, UsageError, visible
from certwarden.lifecycle.trust import Verdict
from certwarden.model import Observed, Secret
from certwarden.ports import Neighbours

LOOK_EVERY = 5.0  # seconds
LOOKS_A_PROBE = 3  # what is served is looked at each so many looks
LOOKS_A_VERDICT = 60  # and a server is asked for the time, where that is called for

_ENTER = "\x1b[?1049h\x1b[?25l"  # the alternate screen, without a cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def status(arguments: Namespace) -> int:
    """Every certificate as it is; with `--watch` until Ctrl-C."""
    config = read_config(arguments)
    if arguments.watch:
        return _watch(arguments, config)
    with open_warden(arguments, config, is_read_only=True) as warden:
        house = look(warden, config, is_probing=not arguments.offline)
    if arguments.json:
        show_json(status_json(house))
    else:
        for line in status_lines(house, screen_of(sys.stdout)):
            print(line)  # its colours are ours
    return ATTENTION if concerns(house) else DONE


def look(
    world: Neighbours,
    config: Config,
    *,
    is_probing: bool,
    before: House | None = None,
    verdict: Verdict | None = None,
) -> House:
    """The house now; what was seen `before` stands in for what is not looked at again.

    `verdict` is that on the clock, where it was judged lately.
    """
    from certwarden.lifecycle.authority import observe_authority
    from certwarden.lifecycle.judge import ClockJudge
    from certwarden.lifecycle.observe import observe
    from certwarden.lifecycle.status import authority_needs_attention, needs_attention

    now = world.clock.now()
    observed = observe(world, config.certificates, is_probing=is_probing)
    if before is not None:
        observed = _remembered(observed, before)
    authority = observe_authority(world)
    is_troubled = any(needs_attention(seen, now) for seen in observed)
    is_troubled = is_troubled or authority_needs_attention(authority, now)
    if verdict is None and before is not None:
        verdict = before.verdict
    if verdict is None:
        verdict = ClockJudge(world).assess(now, needs_date=is_troubled and is_probing)
    return House(observed, authority, verdict, world.policy, now)


def _remembered(observed: Sequence[Observed], before: House) -> tuple[Observed, ...]:
    known = {each.spec.name: each for seen in before.certificates for each in seen.targets}
    return tuple(
        replace(
            seen,
            targets=tuple(
                replace(
                    target,
                    seen=known[target.spec.name].seen,
                    trouble=target.trouble or known[target.spec.name].trouble,
                )
                for target in seen.targets
            ),
        )
        for seen in observed
    )


def _watch(arguments: Namespace, config: Config) -> int:
    screen = screen_of(sys.stdout)
    if arguments.json:
        raise UsageError("--watch is for people, and --json for programs", "leave one of them out")
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError("--watch needs a terminal to show it on", "run it without --watch")
    clock = SystemClock()
    with _alternate_screen():
        try:
            for lines in _looks(config, is_offline=arguments.offline):
                _draw(lines, screen)
                clock.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            pass  # that is how one leaves
    return DONE


def _looks(config: Config, *, is_offline: bool) -> Iterator[Sequence[str]]:
    """What there is to see, look by look."""
    house: House | None = None
    secrets = handed_over(config)
    count = 0
    while True:
        screen = screen_of(sys.stdout)  # its width may have changed
        is_probing = not is_offline and count % LOOKS_A_PROBE == 0
        try:
            house = _look_once(
                config,
                secrets,
                is_probing=is_probing,
                before=None if is_probing else house,
                verdict=house.verdict if house and count % LOOKS_A_VERDICT else None,
            )
        except Error as error:  # such as a database that is busy: the next look may be better
            what, hint = (
                textwrap.wrap(visible(each), screen.width) for each in (error.what, error.hint)
            )
            yield [*(screen.coloured(line, Colour.BAD) for line in what), *hint]
        else:
            time = f"{date_text(house.now)} — every {LOOK_EVERY:g} s, Ctrl-C to end"
            head = screen.plain(screen.coloured(time[: screen.width], Colour.FAINT))
            yield [head, "", *status_lines(house, screen)]
        count += 1


def _look_once(
    config: Config,
    secrets: Mapping[Path, Secret],
    *,
    is_probing: bool,
    before: House | None,
    verdict: Verdict | None,
) -> House:
    from certwarden.wiring import Warden

    settle(config.state_directory, is_looking=True)
    unheard = Console(io.StringIO())  # the screen is taken
    with closing(
        Warden(config, unheard, purpose="status", is_read_only=True, handed_over=secrets)
    ) as warden:
        return look(warden, config, is_probing=is_probing, before=before, verdict=verdict)


@contextmanager
def _alternate_screen() -> Iterator[None]:
    """What was on the terminal before is there again afterwards."""
    sys.stdout.write(_ENTER)
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _draw(lines: Sequence[str], screen: Screen) -> None:
    """In place, without a flicker; what does not fit is counted in the last line."""
    height = shutil.get_terminal_size().lines
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], screen.plain(f"… {hidden} more lines")]
    text = "\n".join(f"{line}{_END_OF_LINE}" for line in lines)
    sys.stdout.write(f"{_HOME}{text}{_END_OF_SCREEN}")
    sys.stdout.flush()
