"""Build the wheel and the sdist, and install and use each in an environment of its own: ``python -m tools.packages``.

Each environment gets the core dependencies alone, from the package index; ``--reuse SITE_PACKAGES`` takes them from a
folder instead, which is quicker and proves less.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from tools.layout import ROOT

# Nothing else may lie at the top of a package; the sdist has what builds the wheel, and tests want the repository.
WHEEL_TOPS = {"tobias_aug", "tobias_aug.dist-info"}
SDIST_TOPS = {
    "tobias_aug",
    "integrations",
    "tobias_aug.egg-info",
    "CHANGELOG.md",
    "LICENSE",
    "MANIFEST.in",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
}

USE = """
import importlib.resources, importlib.util, subprocess, sys
from pathlib import Path
from PIL import Image
import tobias_aug

assert sys.prefix in tobias_aug.__file__, tobias_aug.__file__
for name in tobias_aug.__all__:
    getattr(tobias_aug, name)
files = importlib.resources.files("tobias_aug")
for name in sys.argv[1:]:
    assert files.joinpath(name).is_file(), f"{name} was not installed"

program = Path(sys.executable).with_name("tobias-aug")
def run(*words, status=0):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout + done.stderr

assert "masks" in run("--help")
Path("photographs").mkdir()
for number in range(3):
    Image.linear_gradient("L").rotate(90 * number).convert("RGB").save(f"photographs/{number}.png")
build = ("masks", "build", "photographs", "-o", "table", "--arch", "resnet18", "--workers", "0", "--device", "cpu")
run(*build)
run("masks", "verify", "table", "--images", "photographs")
run("masks", "show", "table", "--images", "photographs", "-o", "sheet.png")
assert Path("sheet.png").is_file()
# Without its extra the demo says which one it wants.
if importlib.util.find_spec("skimage") is None:
    assert "pip install '.[demo]'" in run("demo", "-o", "demo", status=2)
print(f"{len(tobias_aug.__all__)} names, {len(sys.argv) - 1} files and the command line work")
"""


def shipped() -> list[str]:
    """The files below ``tobias_aug`` that both must install."""
    own = [path.relative_to(ROOT / "tobias_aug") for path in (ROOT / "tobias_aug").rglob("*") if _ships(path)]
    adapters = [path.relative_to(ROOT) for path in (ROOT / "integrations").rglob("*") if _ships(path)]
    return sorted(path.as_posix() for path in [*own, *adapters])


def _ships(path: Path) -> bool:
    return path.is_file() and (path.suffix in (".py", ".yaml") or path.name == "py.typed")


def build(folder: Path) -> tuple[Path, Path]:
    """Build both into a folder; the wheel is built from the sdist, as a package index's users would."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def inspect(wheel: Path, sdist: Path) -> None:
    """Reject a package that lacks a file of ours or holds one that should not ship.

    Raises:
        SystemExit: naming the files.
    """
    with zipfile.ZipFile(wheel) as file:
        in_wheel = file.namelist()
    with tarfile.open(sdist) as file:
        in_sdist = [name.partition("/")[2] for name in file.getnames() if "/" in name]
    missing = {f"tobias_aug/{name}" for name in shipped()} - set(in_wheel)
    tops = {name.split("/")[0] for name in in_wheel}
    version = wheel.name.split("-")[1]
    stray = {top for top in tops if top.replace(f"-{version}", "") not in WHEEL_TOPS}
    stray |= {name.split("/")[0] for name in in_sdist} - SDIST_TOPS
    if missing or stray:
        sys.exit(
            f"not in the wheel: {sorted(missing)}; should not ship: {sorted(stray)}; see pyproject.toml, MANIFEST.in"
        )


def use(package: Path, folder: Path, reuse: Path | None) -> None:
    """Install a package into a new environment in a folder, and use it there."""
    home = folder / package.name.replace(".", "-")
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    options = []
    if reuse is not None:
        (place,) = home.glob("[Ll]ib/**/site-packages")
        (place / "reused.pth").write_text(f"{reuse}\n", encoding="utf-8")
        options = ["--no-deps"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *options, package], check=True)
    work = home / "work"
    work.mkdir()
    subprocess.run([python, "-c", USE, *shipped()], check=True, cwd=work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where wheel and sdist go")
    parser.add_argument("--reuse", type=Path, help="site-packages with the dependencies, instead of installing them")
    args = parser.parse_args()
    for old in [*args.dist.glob("*.whl"), *args.dist.glob("*.tar.gz")]:
        old.unlink()
    packages = build(args.dist)
    inspect(*packages)
    for package in packages:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{package.name}: ", end="", flush=True)
            use(package, Path(folder), args.reuse)


if __name__ == "__main__":
    main()
