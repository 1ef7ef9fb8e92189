"""The product's image without a registry, as an archive that `ctr images import` takes.

Two layers: this machine's Python with the pinned requirements (kept in the user's cache), and the product's own wheel.
What is installed, and how, is the Containerfile's: config/image/install.py. Only the base is another: this machine's
interpreter where a user's image has its distribution's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.apiserver.gobuild import cache_root

ROOT = Path(__file__).parents[2]
RECIPE = Path("config", "image")
SITE = "opt/zonebridge"
# What the product's wheel is built from.
PACKAGES = "bridge", "enforcer", "zones"
FILES = "pyproject.toml", "README.md", "LICENSE"
# Of the interpreter: what no service uses, and what it compiles for options that nobody gives.
NOT_NEEDED = (
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "_tkinter*",
    "_test*",
    "turtledemo",
    "pydoc_data",
    "ensurepip",
    "distutils",
    "lib2to3",
    "config-*",
    "site-packages",
    "dist-packages",
    "*.opt-?.pyc",
    "*.a",
)
LOADED_BY_NAME = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")
PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"


@dataclass(frozen=True, slots=True)
class Image:
    """Layers, lowest first, as tar files, and what the image is called and runs."""

    tag: str
    layers: tuple[Path, ...]
    config: dict[str, Any]

    def write(self, target: Path) -> Path:
        """The archive, in the form of `docker save`."""
        digests = [f"sha256:{_sha256(layer)}" for layer in self.layers]
        config = json.dumps(
            {
                "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
                "os": "linux",
                "config": self.config,
                "rootfs": {"type": "layers", "diff_ids": digests},
            }
        ).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        names = [f"layer-{number}.tar" for number in range(len(self.layers))]
        manifest = json.dumps([{"Config": name, "RepoTags": [self.tag], "Layers": names}]).encode()
        with tarfile.open(target, "w") as archive:
            _add(archive, name, config)
            for layer, inside in zip(self.layers, names, strict=True):
                archive.add(layer, inside)
            _add(archive, "manifest.json", manifest)
        return target


def product(tag: str, folder: Path, source: Path = ROOT) -> Path:
    """The product's image, as an archive in this folder, from this tree or another."""
    layers = dependencies(source), _wheel(folder, source)
    return Image(tag, layers, {"Env": environment()}).write(folder / "zonebridge.image.tar")


def program(path: Path, tag: str, folder: Path) -> Path:
    """An image of nothing but one static program, which it runs."""
    root = folder / path.name
    root.mkdir()
    shutil.copy2(path, root)
    layer = _pack(root, folder / f"{path.name}.layer.tar")
    return Image(tag, (layer,), {"Entrypoint": [f"/{path.name}"]}).write(folder / f"{path.name}.image.tar")


# -- the lower layer


def dependencies(source: Path = ROOT) -> Path:
    """The layer that is kept, made now where it isn't there yet, as a tree's own recipe says."""
    layer = cache_root() / "cluster" / f"image-{_recipe_digest(source)}.tar"
    if not layer.exists():
        layer.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layer.parent, prefix=".image-") as folder:
            root = Path(folder) / "root"
            _lay_python(root)
            _installer(source).install_requirements(root / SITE)
            _lay_libraries(root)
            _pack(root, Path(folder) / "layer.tar").rename(layer)
    return layer


def product_digest() -> str:
    """What this tree's image is made of, as the name of everything that is made of it."""
    digest = hashlib.sha256(_recipe_digest(ROOT).encode())
    paths = [ROOT / name for name in FILES] + [path for name in PACKAGES for path in (ROOT / name).rglob("*")]
    for path in sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{path.relative_to(ROOT)} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:12]


def _recipe_digest(source: Path) -> str:
    files = sorted((source / RECIPE).iterdir())
    recipe = "".join(path.read_text() for path in (Path(__file__), *files))
    return hashlib.sha256(f"{recipe}{sys.version}".encode()).hexdigest()[:12]


def environment() -> list[str]:
    """What the Containerfile sets."""
    (words,) = re.findall(r"^ENV (.+)$", (ROOT / RECIPE / "Containerfile").read_text(), re.MULTILINE)
    return str(words).split()


def _installer(source: Path = ROOT) -> ModuleType:
    """config/image/install.py, which is no module of ours: it runs where nothing of ours is installed."""
    spec = importlib.util.spec_from_file_location("image_install", source / RECIPE / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lay_python(root: Path) -> None:
    """The interpreter that runs the tests, with its standard library, in /usr/local."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    programs = root / "usr/local/bin"
    programs.mkdir(parents=True)
    shutil.copy2(Path(sys.executable).resolve(), programs / name)
    (root / "usr/bin").mkdir()
    (root / "usr/bin/python3").symlink_to(f"../local/bin/{name}")
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        root / "usr/local/lib" / name,
        ignore=shutil.ignore_patterns(*NOT_NEEDED),
        symlinks=True,
    )
    zones = Path("/usr/share/zoneinfo")
    if zones.exists():
        shutil.copytree(zones, root / zones.relative_to("/"), symlinks=True)
    for path in ("tmp", "etc", "var/lib", "run", "proc", "sys", "dev"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text(PASSWD)


def _lay_libraries(root: Path) -> None:
    """What the interpreter and its modules are linked with, where the linker looks for them."""
    linked = [*(root / "usr/local/bin").iterdir(), *root.rglob("*.so"), *root.rglob("*.so.*")]
    shown = subprocess.run(["ldd", *linked], capture_output=True, text=True, check=False).stdout
    paths = {Path(path) for path in re.findall(r"(/\S+) \(0x", shown)}
    beside = {path.parent / name for path in paths for name in LOADED_BY_NAME if (path.parent / name).exists()}
    for path in {path for path in paths | beside if not path.is_relative_to(root)}:
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path.resolve(), target)


# -- the upper layer


def _wheel(folder: Path, source: Path) -> Path:
    """The product's own wheel, installed; built from a copy, as building writes into the tree."""
    copy, root = folder / "source", folder / "root"
    for name in PACKAGES:
        shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(source / name, copy)
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(copy)], check=True)
    (wheel,) = folder.glob("*.whl")
    _installer().install_product(root / SITE, wheel)
    return _pack(root, folder / "wheel.layer.tar")


def _pack(root: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as layer:
        layer.add(root, ".", filter=_for_everybody)
    return target


def _for_everybody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Root's, and readable by all, whatever the umask was here."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode |= 0o555 if member.isdir() or member.mode & 0o100 else 0o444
    if member.name == "./tmp":
        member.mode = 0o1777
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
