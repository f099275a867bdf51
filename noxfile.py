"""The project's chores: `nox -l` lists them."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nox

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
WIRE = Path("src/statusbuilder/contracts/wire")
# The rooms that the coverage gate is for.
GATED = ",".join(f"*/statusbuilder/{room}/*" for room in ["agent", "contracts", "core", "delivery", "payload", "sinks"])
LEAST_COVERED = 95
# What the interpreters between the oldest and the newest are tested with: core, contracts, tables, one real server.
SHORT = [
    "tests/core",
    "tests/payload",
    "tests/contracts",
    *(f"tests/delivery/test_{name}.py" for name in ("core_sending", "core_spool", "core_truth", "delivery_retry")),
    "tests/server/test_server.py",
]
# Half of the time goes by in waiting; a file's tests stay together, as they share servers.
IN_PARALLEL = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
# Also in CI: a machine tests with the interpreters that it has.
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "typing", "api", "docs", "protos", "build"]


def _tell_uv() -> None:
    """Hand pip's settings to uv, which does not read them: a company's index, its certificate, the system's store."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    told = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}
    for name, value in re.findall(r"^\S+\.([\w-]+)='(.*)'$", listing, re.MULTILINE):
        if name in told:
            os.environ.setdefault(told[name], value)
    os.environ.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # as pip looks at several indexes
    if ssl.get_default_verify_paths().cafile or ssl.get_default_verify_paths().capath:
        os.environ.setdefault("UV_SYSTEM_CERTS", "true")


def _group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PYPROJECT, name))


def _floors() -> list[str]:
    """Return every run-time requirement, those of the extras too, at its lowest allowed version."""
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    wanted = [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in wanted]
    return sorted({f"{match[1]}=={match[2]}" for match in found if match})


def _runs(version: str) -> bool:
    """Whether an interpreter is there and starts; a version manager has shims of those that do not."""
    places = (Path(folder, f"python{version}") for folder in os.get_exec_path())
    return any(
        place.is_file() and subprocess.run([place, "-c", ""], capture_output=True).returncode == 0 for place in places
    )


_tell_uv()


def _install_all(session: nox.Session, *groups: str) -> None:
    session.install(".[all]", *(line for group in groups for line in _group(group)))


@nox.session
def demo(session: nox.Session) -> None:
    """Show a run from end to end; `-- --web` in a browser, too; `-- agent` and `-- temporal` show those runners."""
    name, *rest = session.posargs or [""]
    script, needs = {
        "agent": ("agent_runner.py", [".[console,langgraph,server]"]),
        "temporal": ("workflow_runner.py", [".[console,server,temporal]", *_group("temporal-server")]),
    }.get(name, ("demo.py", [".[console,server,web]"]))
    session.install(*needs)
    session.run("python", f"examples/{script}", *(rest if name in ("agent", "temporal") else session.posargs))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test the built wheel: all on the oldest and the newest interpreter there is, the short set on those between.

    The newest also measures coverage, which costs least there. `-- --all` tests all on each; what else is given is
    pytest's.
    """
    there = [version for version in PYTHONS if _runs(version) and (version != "3.15" or shutil.which("cc"))]
    if session.python not in there:
        session.skip("on 3.15 the langgraph extra needs a C compiler, for zstandard")
    _install_all(session, "tests", "peers")
    posargs = [argument for argument in session.posargs if argument != "--all"]
    if session.python != there[-1] or posargs:
        is_between = session.python in there[1:-1] and "--all" not in session.posargs
        session.run("pytest", *(posargs or [*IN_PARALLEL, *(SHORT if is_between else [])]))
        return
    data = {"COVERAGE_FILE": str(Path(session.create_tmp()).resolve() / "coverage")}
    session.run("coverage", "erase", env=data)
    session.run("coverage", "run", "-m", "pytest", *IN_PARALLEL, env=data)
    session.run("coverage", "combine", "--quiet", env=data)
    report = ["coverage", "report", f"--include={GATED}", "--omit=*/__main__.py,*_pb2.py"]
    total = session.run(*report, "--format=total", "--precision=1", env=data, silent=True)
    session.log(f"{str(total).strip()} % of the gated rooms are covered")
    if float(str(total)) < LEAST_COVERED:
        session.run(*report, f"--fail-under={LEAST_COVERED}", env=data)


@nox.session
def simulate(session: nox.Session) -> None:
    """Run the delivery's core through all that can go wrong: `-- --seeds A:B`, `--seed S`, `--mutants`, `--rate`."""
    session.install(".")
    session.run("python", "-m", "simulator", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(name="tests-lowest", python=PYTHONS[0])
def tests_lowest(session: nox.Session) -> None:
    """Test with the lowest version of every run-time dependency."""
    session.install(".[all]", *_floors(), *_group("tests"))
    old = ("websockets.", "remove second argument of ws_handler")  # what uvicorn still used
    lenient = [part for text in old for part in ("-W", f"ignore:{text}:DeprecationWarning")]
    session.run("pytest", *lenient, *(session.posargs or IN_PARALLEL))


@nox.session(name="tests-agents-lowest", python=PYTHONS[0])
def tests_agents_lowest(session: nox.Session) -> None:
    """Test the agents with the oldest LangGraph and deepagents."""
    session.install(".[console,langgraph,server]", *_group("tests"), *_group("agents-lowest"))
    session.run("pytest", *(session.posargs or "tests/langgraph"))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, the layers, and that the wire stays as it was; then show the lines of each package."""
    session.install(".", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    session.run("buf", "lint", "--config", ".ci/buf.yaml")
    session.run("buf", "breaking", "--config", ".ci/buf.yaml", "--against", ".ci/wire.binpb")
    session.run("python", ".ci/lines.py")


@nox.session
def api(session: nox.Session) -> None:
    """Check that the changelog names what differs from the last release's API; a release does `-- --write`."""
    session.install(*_group("api"))
    session.run("python", ".ci/api.py", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the library and of its users: tests/typing holds right and wrong uses."""
    _install_all(session, "typing")
    session.run("mypy")
    for project in (".", "tests/typing"):
        session.run("pyright", "-p", project, "--pythonpath", str(Path(session.bin, "python")))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, whose snippets are tests; a warning is an error."""
    _install_all(session, "docs")
    session.run("pytest", "-q", "tests/project/test_docs_extensions.py")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html", *session.posargs)
    session.log("open docs/_build/html/index.html")


@nox.session
def protos(session: nox.Session) -> None:
    """Generate the wire's Python code; with `-- --check` only say whether it is stale."""
    session.install(*_group("protos"))
    out = Path(session.create_tmp()).resolve()
    shutil.rmtree(out / "statusbuilder", ignore_errors=True)
    sources = sorted(path.relative_to("src").as_posix() for path in WIRE.glob("*.proto"))
    command = ["python", "-m", "grpc_tools.protoc", "-Isrc", f"--python_out={out}", f"--pyi_out={out}"]
    session.run(*command, *sources)
    fresh = {path.name: path.read_bytes() for path in (out / WIRE.relative_to("src")).iterdir()}
    present = {path.name: path.read_bytes() for path in WIRE.glob("*_pb2.py*")}
    stale = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
    if "--check" in session.posargs:
        if stale:
            session.error(f"stale: {', '.join(stale)}; run `nox -s protos` and commit what it writes")
        return
    for name in stale:
        (WIRE / name).unlink(missing_ok=True)
        if name in fresh:
            (WIRE / name).write_bytes(fresh[name])
    session.log(f"changed: {', '.join(stale) or 'nothing'}")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against the budgets, each beside its reference in the same run."""
    _install_all(session, "bench")
    session.run("python", "tests/bench", "--output", "docs/figures.json", *session.posargs)


@nox.session
def redaction(session: nox.Session) -> None:
    """Print what of the corpus of secrets and innocents comes out right, beside what others' scrubbers make of it."""
    session.install(".", *_group("scrubbers"))
    session.run("python", "tests/kits/measure_redaction.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hand in whatever comes up, for `-- --seconds 600` each; names of targets choose some."""
    _install_all(session, "tests")
    session.run("python", "tests/fuzz", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill, freeze and cut things for longer than the tests may take; `-- -k temporal` only Temporal's."""
    _install_all(session, "tests")
    session.run(
        "pytest",
        "-s",
        "-o",
        "python_files=chaos_*.py",
        "-o",
        "python_functions=chaos_*",
        "tests/chaos",
        *session.posargs,
    )


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel into dist/, and use them from an index as others would."""
    session.install(*_group("build"))
    shutil.rmtree("dist", ignore_errors=True)
    direct = Path(session.create_tmp()).resolve() / "direct"
    shutil.rmtree(direct, ignore_errors=True)
    session.run("python", "-m", "build", "--quiet", "--no-isolation")
    session.run("python", "-m", "build", "--quiet", "--no-isolation", "--wheel", "--outdir", str(direct))
    session.run("twine", "check", "--strict", *map(str, sorted(Path("dist").iterdir())))
    (wheel,) = (path.resolve() for path in Path("dist").glob("*.whl"))
    session.run("python", "tests/packaging/contents.py", "dist", str(direct / wheel.name))
    extras = sorted(PYPROJECT["project"]["optional-dependencies"])
    wanted = {"newest": ["statusbuilder"], "lowest": ["statusbuilder[all]", *_floors()]}
    wanted |= {extra: [f"statusbuilder[{extra}]"] for extra in extras if extra != "all"}
    with _index(session, wheel.parent) as index:
        for name, packages in wanted.items():
            python = _environment(session, name, index, *packages)
            has = {"newest": [], "lowest": ["all"]}.get(name, [name])
            session.run(python, "-I", "tests/packaging/installed.py", str(wheel), *has, external=True)
        _use_service(session, index)


def _use_service(session: nox.Session, index: str) -> None:
    """Test the example of a service in an environment that has the wheel and what the service asks for."""
    service = Path("examples/service")
    tests = nox.project.dependency_groups(nox.project.load_toml(service / "pyproject.toml"), "tests")
    python = _environment(session, "service", index, str(service.resolve()), *tests)
    with session.chdir(service):
        session.run(python, "-m", "pytest", "-q", external=True)


def _environment(session: nox.Session, name: str, index: str, *packages: str) -> str:
    """Make a clean environment, install packages into it, ours from this index, and return its Python."""
    place = Path(session.create_tmp()).resolve() / name
    python = str(place / "bin/python")
    if session.venv_backend == "uv":
        session.run("uv", "venv", "--quiet", "--clear", "--python", f"{session.bin}/python", str(place), external=True)
        install = ["uv", "pip", "install", "--quiet", "--python", python, "--refresh-package", "statusbuilder"]
        session.run(*install, "--index", index, *packages, external=True)
    else:
        session.run("python", "-m", "venv", "--clear", str(place))
        session.run(python, "-m", "pip", "install", "--quiet", "--extra-index-url", index, *packages, external=True)
    return python


@contextmanager
def _index(session: nox.Session, folder: Path) -> Iterator[str]:
    """Serve the packages of a folder on a free port, and give the index's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"{session.bin}/pypi-server", "run", "-i", "127.0.0.1", "-p", str(port), "--disable-fallback"]
    server = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/simple/"
        for _ in range(300):
            try:
                urlopen(url, timeout=10).close()
                break
            except URLError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()
