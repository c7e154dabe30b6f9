"""Check the operators behind a name: exactly one leads, and all are ready. Run by `helm test`.

The arguments are the name and the port. Waits a minute for an election that is under way.
"""

import socket
import sys
import time
import urllib.error
import urllib.request

TRIES, PAUSE_SECONDS, ANSWER_SECONDS = 30, 2, 5


def main(name: str, port: str) -> None:
    """Ask until all is well; end with status 1 and the last answers if it never is."""
    told, well = asked(name, port)
    for _ in range(TRIES):
        if well:
            break
        time.sleep(PAUSE_SECONDS)
        told, well = asked(name, port)
    sys.stdout.write(f"{told}\n")
    sys.exit(0 if well else 1)


def asked(name: str, port: str) -> tuple[str, bool]:
    """Look, or say why nobody can be reached."""
    try:
        return look(name, port)
    except OSError as error:
        return f"{name} cannot be reached: {error}", False


def look(name: str, port: str) -> tuple[str, bool]:
    """Tell how each operator answers, and whether that is how it should be."""
    found = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)
    hosts = sorted({f"[{at[0]}]" if family == socket.AF_INET6 else str(at[0]) for family, _, _, _, at in found})
    ready = {host: answer(f"http://{host}:{port}/readyz") for host in hosts}
    leaders = [host for host in hosts if answer(f"http://{host}:{port}/leadz")[0]]
    lines = [f"{host}: {'ready' if good else 'not ready'}, {words}" for host, (good, words) in ready.items()]
    lines.append(f"{len(leaders)} of {len(hosts)} operators lead, 1 must")
    return "\n".join(lines), len(leaders) == 1 and all(good for good, _ in ready.values())


def answer(url: str) -> tuple[bool, str]:
    """Give whether an endpoint answers with 200, and its words."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:  # noqa: S310 - http, by the caller
            return True, response.read().decode().strip()
    except urllib.error.HTTPError as error:
        return False, error.read().decode().strip()
    except OSError as error:
        return False, str(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
