"""Check what the sdist and the wheel hold: python contents.py DIST WHEEL

DIST has the sdist and the wheel that was built from it; WHEEL was built straight from the sources.
"""

from __future__ import annotations

import email
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
NEEDED = {"py.typed", "__main__.py", "testing/plugin.py", "server/page.js", *(
    f"contracts/wire/{name}{end}" for name in ("agent", "rpc", "workflow") for end in (".proto", "_pb2.py", "_pb2.pyi")
)}  # fmt: skip
SOURCES = {".ci/run", "CHANGELOG.md", "LICENSE", "README.md", "docs/conf.py", "noxfile.py", "tests/README.md"}
UNWANTED = re.compile(r"(^|/)(__pycache__|\.\w+_cache|\.nox|\.venv|_build|\.hypothesis)/|\.py[co]$|\.DS_Store$")


def main() -> None:
    """Check both; exits with what is wrong."""
    dist, direct = map(Path, sys.argv[1:])
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    wrong = [*check_wheel(read_wheel(wheel)), *check_sdist(sdist), *differences(wheel, direct)]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; {sdist.name}: {sdist.stat().st_size:,} bytes")


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return a wheel's files."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sources() -> set[str]:
    """Return the paths of the package's files, below the package."""
    package = ROOT / "src/statusbuilder"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    return {name for name in files if not UNWANTED.search(name)}


def check_wheel(files: dict[str, bytes]) -> list[str]:
    """Return what is wrong with a wheel: it holds the package, all of it and nothing else, and says what it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = f"statusbuilder-{project['version']}.dist-info"
    there = {name for name in files if not name.startswith(f"{info}/")}
    should = {f"statusbuilder/{name}" for name in sources() | NEEDED}
    about = {name.removeprefix(f"{info}/") for name in files if name.startswith(f"{info}/")}
    wrong = [f"the wheel lacks {name}" for name in sorted(should - there)]
    wrong += [f"the wheel should not have {name}" for name in sorted(there - should)]
    if about != {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}:
        return [*wrong, f"{info} has {sorted(about)}"]
    metadata = email.message_from_bytes(files[f"{info}/METADATA"])
    requires = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    if {plain(line) for line in requires} != {plain(line) for line in project["dependencies"]}:
        wrong.append(f"the wheel requires {sorted(requires)}")
    if set(metadata.get_all("Provides-Extra", [])) != set(project["optional-dependencies"]):
        wrong.append(f"the wheel's extras are {metadata.get_all('Provides-Extra')}")
    return wrong


def plain(requirement: str) -> tuple[str, frozenset[str]]:
    """Return a requirement's name, and its bounds without their order."""
    name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement.replace(" ", "")).groups()  # type: ignore[union-attr]
    return name, frozenset(bounds.split(","))


def check_sdist(path: Path) -> list[str]:
    """Return what is wrong with an sdist: it holds the sources, the tests and the docs, and nothing that was built."""
    with tarfile.open(path) as archive:
        files = {PurePosixPath(*PurePosixPath(one.name).parts[1:]).as_posix() for one in archive if one.isfile()}
    should = SOURCES | {f"src/statusbuilder/{name}" for name in sources()}
    wrong = [f"the sdist lacks {name}" for name in sorted(should - files)]
    return wrong + [f"the sdist should not have {name}" for name in sorted(files) if UNWANTED.search(name)]


def differences(wheel: Path, direct: Path) -> list[str]:
    """Return how the wheel that was built from the sdist differs from the direct one."""
    ours, theirs = read_wheel(wheel), read_wheel(direct)
    names = ours.keys() | theirs.keys()
    return [f"the wheels differ in {name}" for name in sorted(names) if ours.get(name) != theirs.get(name)]


if __name__ == "__main__":
    main()
