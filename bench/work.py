"""What is measured, and how often: everyone in turn, so that a busy minute is everyone's.

Owns the order of the runs and the proof that each did its job. What it found is plain values.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509

from bench import idle, programs
from bench.authority import Authority
from bench.clients import AT_ONCE, Certbot, Certwarden, Client, Uacme, domains
from bench.door import Door
from bench.findings import (
    CLIENTS,
    CLIENTS_ISSUED,
    COMPLETION,
    DELAY,
    ENTRIES,
    FEW,
    FIRST,
    FIRST_DELAYED,
    HELP,
    MANY,
    MANY_DUE,
    MANY_DUE_DELAYED,
    MOST_ENTRIES,
    NOTHING_DUE,
    NOTHING_DUE_CA,
    NOTHING_DUE_MANY,
    ONE_DUE,
    OPENSSL,
    SAMPLED,
    SAMPLED_DUE,
    UACME,
    VERSION,
    Findings,
    revocation,
)
from bench.measure import Command, Failed, run
from bench.openssl import Openssl
from tests.world import World
from tests.world.pebble import Pebble, PebbleOptions
from tests.world.tools import Missing
from tests.world.turnstile import Turnstile

_MOST_CERTBOT_RUNS = 3  # 13 s each, nearly all of it asleep
_MOST_CERTBOT_PASSES = 2  # a minute each
_MOST_OPENSSL_RUNS = 2  # half a minute each
_PASS_CLIENTS = 100  # that the private CA has in a pass with nothing due
_CALM = PebbleOptions(nonce_reject=0, authz_reuse=0)


class Bench:
    """One run of the bench; `repeat` is how often each job is measured."""

    def __init__(self, repeat: int) -> None:
        self._repeat = repeat
        self._ours = Certwarden(programs.certwarden())
        self._certbot = Certbot(programs.certbot())
        self.found = Findings()
        self._clients: list[Client] = [self._ours, self._certbot]
        for client in (self._ours, self._certbot):
            self.found.versions[client.name] = client.program.version
        try:
            uacme = Uacme(programs.uacme())
        except Missing as missing:
            self.found.left_out[UACME] = str(missing)
        else:
            self._clients.append(uacme)
            self.found.versions[UACME] = uacme.program.version

    def start_up(self) -> None:
        """What a shell waits for."""
        with _home() as home:
            for _ in range(self._repeat):
                for job in (VERSION, HELP):
                    self._measure(job, self._ours.name, self._ours.command(job), home)
                    self._measure(job, self._certbot.name, self._certbot.command(job), home)
                completion = self._ours.command(*COMPLETION.split())
                self._measure(COMPLETION, self._ours.name, completion, home)

    def first(self) -> None:
        """Account and first certificate, without and with a delay until DNS shows the records."""
        with self._world() as world:
            for number in range(self._repeat):
                for client in list(self._clients):
                    if client is not self._certbot or number < _MOST_CERTBOT_RUNS:
                        self._obtain(FIRST, client, world)
            world.store.propagation_delay = DELAY
            for _ in range(self._repeat):
                self._obtain(FIRST_DELAYED, self._ours, world)

    def many(self) -> None:
        """Many certificates that are due at once; ours also puts each of them to use."""
        with self._world() as world, Door(world.authority) as door, _home() as home:
            _tell(f"obtaining what is wanted for: {MANY_DUE}")
            run(self._ours.renew(world, home, MANY, door), home)
            renew = self._ours.renew_all(world, home, MANY, door)
            for delay, job in ((0.0, MANY_DUE), (DELAY, MANY_DUE_DELAYED)):
                world.store.propagation_delay = delay
                for _ in range(self._repeat):
                    chains = self._ours.chains(home, MANY)
                    self._renew_all(job, self._ours.name, renew, home, world, chains=chains)
        with self._world() as world, Door(world.authority) as door:
            with _home() as home:
                run(self._ours.renew(world, home, 1, door), home)
                renew = self._ours.renew_all(world, home, 1, door)
                for _ in range(self._repeat):
                    chains = self._ours.chains(home, 1)
                    self._renew_all(ONE_DUE, self._ours.name, renew, home, world, chains=chains)
            with _home() as home:
                _tell(f"obtaining what is wanted for: {SAMPLED_DUE}")
                for number in range(SAMPLED):
                    run(self._certbot.obtain(world, home, number, AT_ONCE), home)
                renew = self._certbot.renew_all(world, home)
                for _ in range(min(self._repeat, _MOST_CERTBOT_PASSES)):
                    chains = self._certbot.chains(home, SAMPLED)
                    self._renew_all(
                        SAMPLED_DUE, self._certbot.name, renew, home, world, chains=chains
                    )

    def daemon(self) -> None:
        """Nothing to do, for hours."""
        with self._world() as world, Door(world.authority) as door, _home() as home:
            run(self._ours.renew(world, home, 1, door), home)
            _tell(f"watching a daemon for {idle.IDLE_SECONDS:.0f} s")
            self.found.idleness.append(idle.watch(self._ours.daemon(world, home, door), home))

    def nothing_due(self) -> None:
        """A pass that finds everything in order; ours also looks at what is served."""
        with ExitStack() as stack:
            world = stack.enter_context(self._world())
            passes: list[tuple[str, str, Command, Path]] = []
            for job, count in ((NOTHING_DUE, 1), (NOTHING_DUE_MANY, MANY)):
                _tell(f"obtaining what is wanted for: {job}")
                home = stack.enter_context(_home())
                door = stack.enter_context(Door(world.authority))
                renew = self._ours.renew(world, home, count, door)
                run(renew, home)
                passes.append((job, self._ours.name, renew, home))

                home = stack.enter_context(_home())
                run(self._certbot.obtain(world, home, 0, AT_ONCE), home)
                self._certbot.copies(home, count)
                renew = self._certbot.renew(world, home)
                passes.append((job, self._certbot.name, renew, home))
            home = stack.enter_context(_home())
            gate = stack.enter_context(Turnstile())
            authority = Authority(self._ours, world, home, gate)
            run(authority.found(), home)
            run(authority.issue(_PASS_CLIENTS), home)
            for _ in range(2):  # the first one installs, the second one finds all as it should be
                run(authority.renew(), home)
            passes.append((NOTHING_DUE_CA, self._ours.name, authority.renew(), home))

            world.emulator.forget_requests()
            orders = world.pebble.orders()
            for _ in range(self._repeat):
                for job, client, renew, home in passes:
                    self._measure(job, client, renew, home)
            if world.emulator.requests or world.pebble.orders() != orders:
                raise Failed("a pass with nothing due ordered something, or called Cloudflare")

    def authority(self) -> None:
        """The private CA: many clients at once, and revocations where many are revoked already."""
        with self._world() as world:
            self._issue_clients(world)
            for entries in (FEW, ENTRIES, MOST_ENTRIES):
                with _home() as home:
                    authority = Authority(self._ours, world, home)
                    run(authority.found(), home)
                    run(authority.issue(self._repeat), home)
                    _tell(f"revoking {entries} clients")
                    authority.fill(entries)
                    for number in range(self._repeat):
                        revoke = authority.revoke(number)
                        self._measure(revocation(entries), self._ours.name, revoke, home)

    def _issue_clients(self, world: World) -> None:
        try:
            openssl = Openssl(programs.openssl())
        except Missing as missing:
            self.found.left_out[OPENSSL] = str(missing)
        else:
            self.found.versions[OPENSSL] = openssl.program.version
        for number in range(self._repeat):
            with _home() as home:
                authority = Authority(self._ours, world, home)
                run(authority.found(), home)
                issue = authority.issue(CLIENTS)
                self._measure(CLIENTS_ISSUED, self._ours.name, issue, home)
                _count(authority.issued())
            if OPENSSL in self.found.left_out or number >= _MOST_OPENSSL_RUNS:
                continue
            with _home() as home:
                run(openssl.found(home), home)
                self._measure(CLIENTS_ISSUED, openssl.name, openssl.issue(home, CLIENTS), home)
                _count(openssl.issued(home))

    def _obtain(self, job: str, client: Client, world: World) -> None:
        world.emulator.forget_requests()
        with _home() as home:
            try:
                self._measure(job, client.name, client.first(world, home), home)
            except Failed as failed:
                if client.name != UACME:
                    raise
                # It is a guest: that it does not run on this machine says nothing about us.
                self._clients.remove(client)
                self.found.left_out[UACME] = str(failed)
                return
            _check([client.chain(home)], world)
        self.found.add_calls(job, client.name, world.emulator.calls())

    def _renew_all(
        self,
        job: str,
        client: str,
        command: Command,
        home: Path,
        world: World,
        *,
        chains: Sequence[Path],
    ) -> None:
        before = [chain.read_bytes() for chain in chains]
        world.emulator.forget_requests()
        orders = world.pebble.orders()
        self._measure(job, client, command, home)
        _check(chains, world)
        if any(chain.read_bytes() == old for chain, old in zip(chains, before, strict=True)):
            raise Failed("a certificate that was due is still the old one")
        if world.pebble.orders() != orders + len(chains):
            raise Failed(f"{world.pebble.orders() - orders} orders for {len(chains)} certificates")
        self.found.add_calls(job, client, world.emulator.calls())

    def _measure(self, job: str, client: str, command: Command, home: Path) -> None:
        sample = run(command, home)
        _tell(f"{job}: {client} {sample.wall:.2f} s")
        self.found.add(job, client, sample)

    @contextmanager
    def _world(self) -> Iterator[World]:
        """A calm world, with the Pebble that every client understands, where it can be had."""
        with World(pebble=_CALM) as world:
            try:
                program = programs.pebble()
            except Missing:
                yield world
                return
            place = world.directory / "calm"
            place.mkdir()
            with Pebble(
                program.path,
                place,
                authority=world.authority,
                dns_server=world.dns.address,
                options=_CALM,
            ) as calm:
                world.pebble.stop()
                world.pebble = calm
                self.found.versions["Pebble"] = program.version
                yield world


def _check(chains: Sequence[Path], world: World) -> None:
    """Raises Failed unless the right certificates are there and no TXT record is left."""
    for number, chain in enumerate(chains):
        leaf = x509.load_pem_x509_certificate(chain.read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if set(names.get_values_for_type(x509.DNSName)) != set(domains(number)):
            raise Failed(f"{chain} is for other names")
    if left := world.txt_records():
        raise Failed(f"TXT records were left behind: {', '.join(left)}")


def _count(issued: Sequence[Path]) -> None:
    """Raises Failed unless each client has a certificate of its own."""
    serials = {x509.load_pem_x509_certificate(path.read_bytes()).serial_number for path in issued}
    if len(serials) != CLIENTS:
        raise Failed(f"{len(serials)} certificates for {CLIENTS} clients")


@contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as name:
        yield Path(name)


def _tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
