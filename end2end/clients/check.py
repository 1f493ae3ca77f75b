"""Whether stock tools can work with the API's description, and what they make of it with the API.

    check.py PROGRAM               what `make clients` runs: redocly, openapi-typescript, openapi-python-client
    check.py PROGRAM --soak 20000  what `make soak` runs: schemathesis, with about so many requests

Starts PROGRAM on a free port with a store that forgets, and ends it. The tools come from
`end2end/node_modules` and from the Python this runs under; both are pinned.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
NODE = HERE.parent / "node_modules" / ".bin"
TOKEN = "clients-check-bootstrap-token"
# A tool that has not ended by then hangs.
TOOL_SECONDS = 120


def fail(what: str) -> None:
    sys.exit(f"clients: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(program: Path, folder: Path, *more: str):
    """A server of one's own; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}
    environment |= {"LONGHAUL_BOOTSTRAP_TOKEN": TOKEN, "LONGHAUL_LOG": "warn"}
    printed = folder / "server.log"
    with printed.open("wb") as output:
        command = [program, "serve", "--listen", address, "--database", "memory:", *more]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        until = time.monotonic() + 30
        while True:
            if process.poll() is not None:
                fail(f"the server ended by itself:\n{printed.read_text()}")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/healthz", timeout=2):
                break
            if time.monotonic() > until:
                fail(f"the server does not answer:\n{printed.read_text()}")
            time.sleep(0.05)
        yield f"http://{address}"
        if process.poll() is not None:
            fail(f"the server did not survive it:\n{printed.read_text()}")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def run(what: str, command: list, folder: Path) -> str:
    """Runs a tool; what it printed is shown where it fails."""
    started = time.monotonic()
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | quiet,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS,
    )
    if done.returncode != 0:
        fail(f"{what} says no:\n{done.stdout}{done.stderr}")
    print(f"    {what}: {time.monotonic() - started:.1f} s", flush=True)
    return done.stdout


def clients(program: Path, folder: Path) -> None:
    with server(program, folder) as address:
        document = folder / "openapi.json"
        document.write_bytes(fetch(f"{address}/api/openapi.json"))

        found = run("redocly lint", [NODE / "redocly", "lint", document, "--format=json"], folder)
        problems = json.loads(found[found.index("{") :])["problems"]
        if problems:
            lines = [f"{one['ruleId']}: {one['message']} {one['location'][0].get('pointer')}" for one in problems]
            fail("redocly lint finds\n" + "\n".join(lines))

        types = folder / "types.ts"
        run("openapi-typescript", [NODE / "openapi-typescript", document, "-o", types], folder)
        use = folder / "use.ts"
        use.write_text((HERE / "use.ts").read_text())
        run("tsc --strict", [NODE / "tsc", "--strict", "--noEmit", "--skipLibCheck", "false", use], folder)

        client = folder / "client"
        tool = Path(sys.executable).parent
        # Its formatter is found on the PATH.
        os.environ["PATH"] = f"{tool}{os.pathsep}{os.environ['PATH']}"
        generate = [tool / "openapi-python-client", "generate", "--path", document, "--output-path", client]
        run("openapi-python-client", [*generate, "--fail-on-warning"], folder)
        run("the life of a job through its client", [sys.executable, HERE / "use.py", client, address, TOKEN], folder)


def soak(program: Path, folder: Path, requests: int) -> None:
    # A description of its operations' links makes about as many requests again as examples are asked for.
    tool = Path(sys.executable).parent / "schemathesis"
    with server(program, folder, "--max-active-jobs", "1000000") as address:
        operations = sum(len(item) for item in json.loads(fetch(f"{address}/api/openapi.json"))["paths"].values())
        command = [
            *[tool, "--config-file", HERE / "schemathesis.toml", "run", f"{address}/api/openapi.json"],
            *["--header", f"Authorization: Bearer {TOKEN}", "--no-color", "--workers", "2"],
            *["--max-examples", str(max(1, requests // operations)), "--generation-database", "none"],
            *["--continue-on-failure", "--seed", os.environ.get("SEED", "1")],
        ]
        if subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL).returncode != 0:
            fail("schemathesis found answers that are not as described")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", type=Path)
    arguments.add_argument("--soak", type=int, metavar="REQUESTS")
    given = arguments.parse_args()
    program = given.program.resolve()
    if not program.is_file():
        fail(f"there is no {program}: run make build")
    with tempfile.TemporaryDirectory(prefix="longhaul-clients-") as folder:
        if given.soak:
            soak(program, Path(folder), given.soak)
        else:
            clients(program, Path(folder))


if __name__ == "__main__":
    main()
