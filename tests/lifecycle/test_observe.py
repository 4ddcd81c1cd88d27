"""The facts that a plan is made from: each is found, and what cannot be read is a fact as well."""

import threading
from dataclasses import replace
from datetime import timedelta

from certwarden.errors import StoreError, TargetError
from certwarden.lifecycle.observe import observe, observe_target
from certwarden.model import Installed, Seen, Served
from tests.builders import (
    DIRECTORY,
    NOW,
    a_certificate_spec,
    a_draft,
    a_renewal_info,
    a_stored,
    a_target_spec,
)
from tests.lifecycle.house import FALLBACK, House

PATIENCE = 30


def test_all_that_is_known_of_a_certificate_is_found() -> None:
    """Stored, under way, in use, said by the CA, and the digest of our setup."""
    house = House(a_certificate_spec(targets=[a_target_spec()]))
    stored = house.put(a_stored())
    draft = a_draft(order_url="https://acme.example/order/1")
    house.world.certificates.save_draft(draft)
    info = a_renewal_info(stored.certificate.fingerprint)
    house.world.suggestions.save_renewal_info(info)
    house.world.setups["home"] = "digest"
    seen = house.seen()
    assert (seen.stored, seen.draft, seen.info, seen.setup) == (stored, draft, info, "digest")
    assert seen.trouble is None
    (target,) = seen.targets
    assert target.installed == Installed(1, stored.certificate)
    assert target.seen == Served(stored.certificate)


def test_what_was_said_of_another_certificate_is_not_found() -> None:
    """A renewal makes the CA's suggestion void."""
    house = House()
    house.put(a_stored())
    house.world.suggestions.save_renewal_info(a_renewal_info("00" * 32))
    assert house.seen().info is None


def test_limits_are_looked_up_where_they_count() -> None:
    """At the first CA and its fallbacks, if their limits are counted."""
    spec = a_certificate_spec(fallback_urls=[FALLBACK])
    house = House(spec, limits=True)
    house.world.limits.issuing(DIRECTORY, "order", spec.domains, NOW)
    assert list(house.seen().spent) == [DIRECTORY]
    assert house.seen().spent[DIRECTORY].issuances == (NOW,)
    house.world.policy = replace(house.world.policy, limited=frozenset({DIRECTORY, FALLBACK}))
    assert list(house.seen().spent) == [DIRECTORY, FALLBACK]
    assert House(spec).seen().spent == {}


def test_what_cannot_be_read_is_a_fact_about_that_certificate() -> None:
    """The others are found all the same."""
    house = House(a_certificate_spec(), a_certificate_spec("barn"))
    trouble = StoreError("versions/0001 may not be read")
    load = house.world.certificates.load

    def load_barn(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        if name == "home":
            raise trouble
        return load(name)

    house.put(a_stored("barn"))
    house.world.certificates.load = load_barn  # type: ignore[method-assign]
    home, barn = observe(house.world, house.specs)
    assert (home.stored, home.trouble) == (None, trouble)
    assert (barn.stored, barn.trouble) == (house.stored("barn"), None)


def test_a_shelf_that_cannot_be_read_is_a_fact_about_that_target() -> None:
    """With what else is known of it."""
    house = House(a_certificate_spec(targets=[a_target_spec()]))
    stored = house.put(a_stored())
    trouble = TargetError("generations may not be read")

    def installed() -> Installed:
        raise trouble

    house.world.targets["node-red"].shelf.installed = installed  # type: ignore[method-assign]
    (target,) = house.seen().targets
    assert (target.installed, target.trouble) == (None, trouble)
    assert target.seen == Served(stored.certificate)
    assert observe_target(house.world, house.spec.targets[0]) == target


def test_a_look_that_fails_is_a_fact_about_that_target() -> None:
    """Although it must not; nothing is known of what is served there, and the others are seen."""
    house = House(a_certificate_spec(targets=[a_target_spec("t0"), a_target_spec("t1")]))
    stored = house.put(a_stored())

    def look() -> Seen:
        raise ValueError("cfut_secret")

    house.world.targets["t0"].probe.look = look  # type: ignore[method-assign]
    failed, served = house.seen().targets
    assert failed.seen is None
    assert failed.installed == Installed(1, stored.certificate)
    assert failed.trouble is not None
    assert failed.trouble.what.startswith("unforeseen: ValueError in test_observe.py, line ")
    assert (served.seen, served.trouble) == (Served(stored.certificate), None)
    assert observe_target(house.world, house.spec.targets[0]).seen is None


def test_targets_are_looked_at_side_by_side_or_not_at_all() -> None:
    """The timeouts of dead programs do not add up; without a probe nobody looks."""
    targets = [a_target_spec(f"t{number}") for number in range(5)]
    house = House(a_certificate_spec(targets=[*targets, a_target_spec("files", probe=None)]))
    house.put(a_stored())
    all_are_looking = threading.Barrier(5)
    for each in targets:
        probe = house.world.targets[each.name].probe
        real_look = probe.look

        def look(real_look=real_look) -> Seen:  # type: ignore[no-untyped-def]  # noqa: ANN001
            all_are_looking.wait(PATIENCE)
            return real_look()  # type: ignore[no-any-return]

        probe.look = look  # type: ignore[method-assign]
    seen = [target.seen for target in house.seen().targets]
    assert seen == [Served(house.stored().certificate)] * 5 + [None]
    (unprobed,) = observe(house.world, house.specs, is_probing=False)
    assert [target.seen for target in unprobed.targets] == [None] * 6


def test_failures_and_deploys_come_from_the_ledger() -> None:
    """Those of the certificate, and of its targets."""
    house = House(a_certificate_spec(targets=[a_target_spec()]))
    house.world.ledger.begin_attempt("home", DIRECTORY, (), NOW)
    house.world.ledger.begin_attempt("barn", DIRECTORY, (), NOW + timedelta(seconds=1))
    house.world.ledger.begin_deploy("node-red", "00", NOW, was_active=None, served_before=None)
    seen = house.seen()
    assert [each.certificate for each in seen.failures] == ["home"]
    last = seen.targets[0].last_deploy
    assert last is not None
    assert last.fingerprint == "00"
