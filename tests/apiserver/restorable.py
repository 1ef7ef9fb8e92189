"""A real API server whose etcd can be set back to a backup, and whose authority and tokens can be replaced."""

from __future__ import annotations

import shutil

from tests.apiserver.identities import Identities
from tests.realkube import RealKube

ADMINISTRATORS = ("system:masters",)


class Restorable(RealKube):
    """Names and files stay when authority and tokens are others: kubeconfigs are written anew where they are."""

    def stop_all(self) -> None:
        self.stop_apiserver()
        if self._etcd is not None:
            self._etcd.terminate()
            self._etcd.wait()

    def start_all(self) -> None:
        self._etcd = self._run("etcd", self._etcd_command())
        self.start_apiserver()

    def back_up(self) -> None:
        """Keep etcd's state as it is now, in the place of a former backup."""
        self.stop_all()
        shutil.rmtree(self.directory / "backup", ignore_errors=True)
        shutil.copytree(self.directory / "data", self.directory / "backup")
        self.start_all()

    def restore(self) -> None:
        """Set etcd back to the backup."""
        self.stop_all()
        shutil.rmtree(self.directory / "data")
        shutil.copytree(self.directory / "backup", self.directory / "data")
        self.start_all()

    def rotate(self) -> None:
        """Another authority, serving certificate and token; whoever had the former ones is refused."""
        self.stop_apiserver()
        former = self._identities
        self._identities = Identities(self.directory, self.url)
        self._identities.write()
        for user, groups in former.issued:
            self._identities.kubeconfig(user, groups)
        self.admin_token = self._identities.admin_token
        self.start_apiserver()
