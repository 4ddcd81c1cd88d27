"""Stands in for certwarden where the daemon starts it; DIRECTORY/config.toml and behaviour.json
say how. What it was given is added to DIRECTORY/passes. As small as can be: it is started often.
"""

import json
import os
import signal
import sys
import time


def main() -> int:
    arguments = sys.argv[1:]
    source = arguments[arguments.index("--config") + 1]
    descriptor = int(arguments[arguments.index("--config-text-fd") + 1])
    text = os.pread(descriptor, 1 << 20, 0).decode()
    directory = os.path.dirname(source)  # noqa: PTH120 - pathlib costs more than all the rest
    if "show" in arguments:
        if text == "slow":
            time.sleep(60)
        if text == "wrong":
            print(f"certwarden: {source}: a mistake", file=sys.stderr)
            return 2
        print(text)
        return 0
    with open(f"{directory}/behaviour.json", encoding="utf-8") as file:  # noqa: PTH123 - see above
        behaviour = json.load(file)
    if behaviour.get("is_deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    said = {"pid": os.getpid(), "text": text, "environment": sorted(os.environ)}
    with open(f"{directory}/passes", "a", encoding="utf-8") as file:  # noqa: PTH123 - see above
        file.write(json.dumps(said) + "\n")
    time.sleep(behaviour.get("seconds", 0))
    if number := behaviour.get("signal"):
        os.kill(os.getpid(), number)
    sys.stdout.write(behaviour.get("output", "{}"))
    return int(behaviour.get("status", 0))


if __name__ == "__main__":
    sys.exit(main())
