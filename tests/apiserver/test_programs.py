"""Finding and building the programs, with a Go and an etcd that only pretend."""

import shutil
import threading

import pytest

from tests.apiserver.programs import Binaries, RealKubeError, Unavailable, binaries, cache, version

ETCD = "#!/bin/sh\n"
GO = """#!/bin/sh
[ "$1" = env ] && echo go1.26.1 && exit
echo "$CGO_ENABLED $*" >> "$CALLS"
while [ "$1" != -o ]; do shift; done
sleep 0.2
for program in kube-apiserver kubectl; do printf '#!/bin/sh\\n' > "$2$program"; chmod +x "$2$program"; done
"""
FAILING_GO = '#!/bin/sh\n[ "$1" = env ] && echo go1.26.1 && exit\necho no space left >&2; exit 1\n'
OLD_GO = "#!/bin/sh\necho go1.19.8\n"


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Puts a program into the only folder of PATH besides the shell's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "sleep", "chmod"):
        (folder / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)

    def write(name, text, into=folder):
        (into / name).write_text(text)
        (into / name).chmod(0o755)

    return write


def test_without_etcd_it_says_so(put):
    put("go", GO)
    assert binaries() == Unavailable("etcd is not installed: install Debian's etcd-server, or set KUBEBUILDER_ASSETS")


def test_without_go_it_says_so(put):
    put("etcd", ETCD)
    assert "there is no Go" in binaries().reason


def test_an_old_go_is_none(put):
    put("etcd", ETCD)
    put("go", OLD_GO)
    assert "go1.19.8 is too old" in binaries().reason


def test_what_was_built_needs_no_go_afterwards(put, tmp_path):
    put("etcd", ETCD)
    put("go", GO)
    built = binaries()
    (tmp_path / "bin" / "go").unlink()
    assert isinstance(built, Binaries)
    assert binaries() == built
    assert built.kubectl.parent == tmp_path / "cache" / "zonebridge" / f"kubernetes-{version()}"


def test_the_build_is_static_and_carries_its_version(put, tmp_path):
    put("etcd", ETCD)
    put("go", GO)
    binaries()
    called = (tmp_path / "calls").read_text()
    assert called.startswith("0 build -trimpath")
    assert f"-X k8s.io/component-base/version.gitVersion={version()}" in called


def test_another_version_is_built_apart(put, tmp_path, monkeypatch):
    put("etcd", ETCD)
    put("go", GO)
    pinned = binaries()
    monkeypatch.setenv("ZONEBRIDGE_KUBERNETES_VERSION", "v1.34")
    assert version().startswith("v1.34.")
    assert binaries().apiserver.parent == tmp_path / "cache" / "zonebridge" / f"kubernetes-{version()}"
    assert binaries() != pinned


def test_a_version_that_is_not_pinned_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("ZONEBRIDGE_KUBERNETES_VERSION", "v1.19")
    with pytest.raises(RealKubeError, match=r"ZONEBRIDGE_KUBERNETES_VERSION=v1\.19: .* there are v1\.34"):
        binaries()


def test_two_at_once_build_once(put, tmp_path):
    put("etcd", ETCD)
    put("go", GO)
    found = []
    threads = [threading.Thread(target=lambda: found.append(binaries())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_failed_build_names_its_log_and_leaves_nothing_that_looks_built(put):
    put("etcd", ETCD)
    put("go", FAILING_GO)
    with pytest.raises(RealKubeError, match=r"build\.log[\s\S]*no space left"):
        binaries()
    assert sorted(path.name for path in cache().iterdir()) == [".lock", "build.log"]


def test_given_programs_are_taken_as_they_are(put, tmp_path, monkeypatch):
    for program in ("etcd", "kube-apiserver", "kubectl"):
        put(program, ETCD, tmp_path)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert binaries() == Binaries(tmp_path / "etcd", tmp_path / "kube-apiserver", tmp_path / "kubectl")
    (tmp_path / "kubectl").unlink()
    assert str(tmp_path / "kubectl") in binaries().reason
