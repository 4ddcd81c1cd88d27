"""What uibuilder needs in order to serve a Node-RED target's certificate on a port of its own.

Owns the text. The module that it loads, and how that takes up what is published, is
`targets.node_red`'s business.
"""

import json
from importlib.resources import files

from certwarden.model import CertificateSpec, TargetSpec

_PACKAGE = "certwarden.targets.node_red"
_PORT = 3001


def uibuilder_snippet(certificate: CertificateSpec, target: TargetSpec) -> str:
    """The property of settings.js by which uibuilder's own server has the target's certificate.

    It is of use only where uibuilder is to have a port of its own: on Node-RED's port it is served
    with Node-RED's certificate anyhow.
    """
    live = json.dumps(str(target.directory))
    options = f"live: {live}, clientAuth: true" if target.client_auth else f"live: {live}"
    lines = [
        f"// certwarden: a port of uibuilder's own for {' '.join(certificate.domains)},",
        "// whose certificates are taken up without a restart. It belongs inside",
        "// module.exports = { … }, beside what uibuilder: { … } may hold there already.",
        "// Restart Node-RED once. It listens at all of the machine's addresses.",
        "uibuilder: {",
        f"    port: {_PORT},",
        '    customType: "https",',
        "    // An object: of a function uibuilder makes a server without a certificate.",
        f"    https: require({_module('hot.js')})({{ {options} }}),",
    ]
    if target.client_auth:
        lines += [
            "    // Whose certificate it was, as msg._client.name.",
            f"    hooks: require({_module('identity.js')}).uibuilder,",
        ]
    lines += [
        "},",
        "// certwarden looks only at the port that a target's probe names. To have this one looked",
        f'// at, make a target of kind node-red with probe = "127.0.0.1:{_PORT}" for it, and put',
        "// that one's snippet here.",
    ]
    return "\n".join(lines) + "\n"


def _module(name: str) -> str:
    """A packaged module's path, as a string of JavaScript."""
    return json.dumps(str(files(_PACKAGE) / name))
