"""What some CAs ask for: an external account, a profile, another root; each by configuration."""

from pathlib import Path

from cryptography import x509

from tests.world import World
from tests.world.house import House
from tests.world.pebble import MORE_PROFILES, PebbleOptions

HMAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def stored(house: House) -> x509.Certificate:
    return x509.load_pem_x509_certificate((house.stored / "current" / "cert.pem").read_bytes())


def test_an_account_is_bound_to_an_external_one(tmp_path: Path) -> None:
    """Without the binding the CA refuses, in a sentence; with it the certificate is obtained."""
    options = PebbleOptions(eab={"kid-1": HMAC_KEY}, eab_required=True)
    with World(pebble=options) as world:
        house = House(world, tmp_path)
        run = house.run("renew")
        assert run.code == 1
        assert "set acme.eab" in run.err
        key = tmp_path / "eab.key"
        key.touch(mode=0o600)
        key.write_text(HMAC_KEY + "\n")
        house.extra_acme = 'eab = { kid = "kid-1", hmac_key_file = "eab.key" }'
        house.write_config()
        run = house.run("renew")
        assert run.code == 0, run.err
        assert HMAC_KEY not in run.err + run.out + house.run("config", "show").out


def test_a_profile_decides_the_lifetime(tmp_path: Path) -> None:
    """A profile that is configured later renews at once; one that is not offered is refused."""
    with World(pebble=PebbleOptions(profiles=MORE_PROFILES)) as world:
        house = House(world, tmp_path, extra_acme='profile = "shortlived"')
        assert house.run("renew").code == 0
        leaf = stored(house)
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days <= 6
        house.extra_acme = 'profile = "tlsserver"'
        house.write_config()
        (step,) = house.run("plan", "--json").json()
        assert "profile" in step["reason"]
        assert house.run("renew").code == 0
        leaf = stored(house)
        assert 40 <= (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days <= 45
        house.extra_acme = 'profile = "longlived"'
        house.write_config()
        run = house.run("renew")
        assert run.code == 1
        assert "longlived" in run.err
        assert "tlsserver" in run.err


def test_alternate_chains_are_kept(tmp_path: Path) -> None:
    """A CA with several roots: every chain that verifies is stored beside the default one."""
    with World(pebble=PebbleOptions(alternate_roots=2)) as world:
        house = House(world, tmp_path)
        assert house.run("renew").code == 0
        names = {each.name for each in (house.stored / "current").iterdir()}
        assert {"alternate-1.pem", "alternate-2.pem"} <= names
