"""Who is who in the test cluster: an authority that lives for one run, its certificates and kubeconfigs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cluster.addresses import API_SERVER


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files."""

    file: Path
    key: Path


class ClusterAuthority:
    """Issues what the parts of a cluster show each other. Users are known by common name, groups by organization."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        folder.mkdir()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))
        self.service_accounts = folder / "service-accounts.key"
        key = ec.generate_private_key(ec.SECP256R1())
        self.service_accounts.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )

    def issue(self, name: str, user: str, group: str | None = None, hosts: tuple[str, ...] = ()) -> Certificate:
        # Go takes an empty list of names, which is critical, for one that it doesn't understand
        leaf = self._ca.issue_cert(*(hosts or (name,)), common_name=user, organization_name=group)
        issued = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued.file.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(issued.key))
        return issued

    def kubeconfig(self, name: str, user: str, group: str | None = None) -> Path:
        certificate = self.issue(name, user, group)
        path = self._folder / f"{name}.kubeconfig"
        cluster = {"server": API_SERVER, "certificate-authority-data": _base64(self.ca_file)}
        who = {
            "client-certificate-data": _base64(certificate.file),
            "client-key-data": _base64(certificate.key),
        }
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "test", "user": who}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "current-context": "test",
                }
            )
        )
        return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
