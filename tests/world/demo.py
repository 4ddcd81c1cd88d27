"""The demonstration that `script/demo` runs: the main job on real parts, from nothing, in a minute.

Owns the order of the show and its words; everything that happens, happens in the parts.
"""

import hashlib
import re
import ssl
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.world import World, tools
from tests.world.house import TARGET, House
from tests.world.nodered import Load, NodeRed, OpenWebsocket, settings
from tests.world.process import free_port
from tests.world.tools import Missing


def main() -> int:
    """Runs the show; returns 0 if all of it was seen."""
    try:
        tools.pebble()
        node = _any_node()
        red = tools.node_red("4.1")
    except Missing as missing:
        print(f"demo: {missing}", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="certwarden-demo-") as temporary,
        World() as world,
    ):
        directory = Path(temporary)
        _tell("A test CA (Pebble), an emulated Cloudflare with its DNS, and Node-RED are starting.")
        port = free_port()
        house = House(world, directory, TARGET.format(port=port, timeout="30s"))
        line = _snippet_line(house)
        _tell(
            "The one line for Node-RED's settings.js, as `certwarden snippet node-red` prints it:"
        )
        print(f"    {line}")
        text = settings(line)
        with NodeRed(directory / "node-red", text, node=node, port=port, red=red) as node_red:
            return _show(world, house, node_red)


def _show(world: World, house: House, node_red: NodeRed) -> int:
    _tell(f"Node-RED runs (process {node_red.pid}) and has no certificate yet:")
    print(f"    {_served(node_red.port)}")

    _certwarden(house, "renew")
    first = _served(node_red.port)
    _tell("Now Node-RED serves, without having been restarted:")
    print(f"    {first}")

    _tell("Somebody opens the editor and leaves it open; others keep asking.")
    with (
        OpenWebsocket(node_red.port, server_name="example.org") as websocket,
        Load(node_red.port, server_name="example.org") as load,
    ):
        load.wait_for(20)
        pid = node_red.pid
        _certwarden(house, "renew", "--force")
        load.wait_for(20)
        second = _served(node_red.port)
        is_open, answered, failed = websocket.is_open(), load.succeeded, load.failures
    _tell("The renewed certificate is in use:")
    print(f"    {second}")
    print(f"    same process: {'yes' if node_red.alive() and node_red.pid == pid else 'NO'}")
    print(f"    websocket still open: {'yes' if is_open else 'NO'}")
    print(f"    requests answered: {answered}, failed: {sum(failed.values())}")

    _certwarden(house, "status")
    left = world.txt_records()
    _tell(f"TXT records left at Cloudflare: {len(left)}. Everything is cleaned up.")
    is_good = first != second and is_open and not failed and not left
    return 0 if is_good else 1


def _certwarden(house: House, *arguments: str) -> None:
    _tell(f"$ certwarden {' '.join(arguments)}")
    run = house.run(*arguments)
    for text in (run.err, run.out):
        for line in text.splitlines():
            print(f"    {line}")
    if run.code:
        sys.exit(f"demo: certwarden {' '.join(arguments)} ended with {run.code}")


def _snippet_line(house: House) -> str:
    run = house.run("snippet", "node-red")
    if run.code:
        sys.exit(f"demo: {run.err}")
    (line,) = [line for line in run.out.splitlines() if re.match(r"\s*https:", line)]
    return line.strip()


def _served(port: int) -> str:
    try:
        pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    except OSError as error:
        return f"no certificate ({getattr(error, 'reason', None) or type(error).__name__})"
    leaf = x509.load_pem_x509_certificate(pem.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    fingerprint = hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest()
    return (
        f"{', '.join(names.get_values_for_type(x509.DNSName))}, "
        f"valid until {leaf.not_valid_after_utc:%Y-%m-%d}, SHA-256 {fingerprint[:16]}…"
    )


def _any_node() -> Path:
    """The machine's own Node.js if Node-RED 4.1 runs on it, else one of the project's."""
    for major in (20, 22, 18):
        try:
            return tools.node(major)
        except Missing:
            if major == 18:
                raise
    raise AssertionError


def _tell(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
