"""A plain client on the `acme` and `cloudflare` libraries, to try the world with.

Owns nothing but the shortest way to a certificate; it repeats no request and cleans up nothing.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acme import challenges, client, crypto_util, errors, messages
from cloudflare import Cloudflare
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from tests.waiting import wait_until
from tests.world import World
from tests.world.authority import key_pem


@dataclass(frozen=True, slots=True)
class Obtained:
    """What was obtained, and from where."""

    chain: str
    order_url: str


def account_client(directory_url: str, ca_bundle: Path) -> client.ClientV2:
    """A client with a new account."""
    key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    network = client.ClientNetwork(key, alg=ES256, user_agent="world tests")
    # Typed as a bool, but handed to requests as it is.
    network.verify_ssl = str(ca_bundle)  # type: ignore[assignment]
    directory = client.ClientV2.get_directory(directory_url, network)
    acme = client.ClientV2(directory, network)
    acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
    return acme


def cloudflare_client(world: World) -> Cloudflare:
    """Cloudflare's own client, for the world's API."""
    token = world.token_file.read_text().strip()
    return Cloudflare(api_token=token, base_url=world.api_base_url, max_retries=0)


def obtain(world: World, names: tuple[str, ...] = ("example.org", "*.example.org")) -> Obtained:
    """Obtain a certificate by dns-01, through everything that the world has."""
    acme = account_client(world.directory_url, world.ca_bundle)
    key = ec.generate_private_key(ec.SECP256R1())
    order = acme.new_order(crypto_util.make_csr(key_pem(key), list(names)))
    zone = world.zones["example.org"]
    with cloudflare_client(world) as api:
        records: list[Any] = []
        answers = []
        for authorization in order.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue
            challenge = next(
                each
                for each in authorization.body.challenges
                if isinstance(each.chall, challenges.DNS01)
            )
            name = challenge.chall.validation_domain_name(authorization.body.identifier.value)
            value = challenge.chall.validation(acme.net.key)
            records.append({"type": "TXT", "name": name, "content": f'"{value}"', "ttl": 60})
            answers.append((challenge, challenge.chall.response(acme.net.key)))
        made = api.dns.records.batch(zone_id=zone.id, posts=records) if records else None
        _wait_until_visible(world, [record["name"] for record in records])
        for challenge, response in answers:
            acme.answer_challenge(challenge, response)
        finished = _finish(acme, order)
        if made is not None and made.posts:
            deletes: list[Any] = [{"id": record.id} for record in made.posts]
            api.dns.records.batch(zone_id=zone.id, deletes=deletes)
    return Obtained(finished.fullchain_pem, finished.uri)


def _wait_until_visible(world: World, names: list[str]) -> None:
    def are_visible() -> bool:
        return all(len(world.store.visible(name)) >= names.count(name) for name in names)

    wait_until(are_visible, "the records")


def _finish(acme: client.ClientV2, order: messages.OrderResource) -> messages.OrderResource:
    def are_valid() -> bool:
        polled = [acme.poll(authorization)[0] for authorization in order.authorizations]
        states = {authorization.body.status for authorization in polled}
        assert messages.STATUS_INVALID not in states, [each.body.challenges for each in polled]
        return states == {messages.STATUS_VALID}

    wait_until(are_valid, "the validation")
    begun = acme.begin_finalization(order.update(authorizations=[]))
    try:
        return acme.poll_finalization(
            begun,
            dt.datetime.now() + dt.timedelta(seconds=30),  # noqa: DTZ005
        )
    except errors.IssuanceError as error:
        raise AssertionError(str(error)) from error
