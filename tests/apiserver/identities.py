"""Who may speak to one real API server: an authority that lives for one run, its certificates, tokens and kubeconfigs.

Users are known by client certificate, not by impersonation: Python's client ignores `as` in a kubeconfig, and would
act as the administrator. It starts nothing; tests/realkube.py uses it.
"""

from __future__ import annotations

import base64
import datetime as dt
import secrets
from collections.abc import Sequence
from pathlib import Path

import trustme
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=1)


class Identities:
    """The authority and everything it issued, as files of one folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._authority = trustme.CA()
        self._kubeconfigs: dict[tuple[str, tuple[str, ...]], Path] = {}
        self.admin_token = secrets.token_urlsafe()
        self.ca_file = folder / "ca.pem"
        self.tls_key_file = folder / "tls.key"
        self.tls_file = folder / "tls.crt"
        self.tokens_file = folder / "tokens.csv"
        self.service_account_key_file = folder / "sa.key"
        self.admin_kubeconfig = folder / "kubeconfig"

    def write(self) -> None:
        """Write what the server needs, and the administrator's kubeconfig."""
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        served = self._authority.issue_cert("localhost", "127.0.0.1")
        served.private_key_pem.write_to_path(str(self.tls_key_file))
        self.tls_file.write_bytes(b"".join(pem.bytes() for pem in served.cert_chain_pems))
        self.tokens_file.write_text(f'{self.admin_token},admin,admin,"system:masters"\n')
        self.service_account_key_file.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))
        self.admin_kubeconfig.write_text(self._kubeconfig({"token": self.admin_token}))

    @property
    def issued(self) -> list[tuple[str, tuple[str, ...]]]:
        """Users and groups that have a kubeconfig, in the order of its making."""
        return list(self._kubeconfigs)

    def kubeconfig(self, user: str, groups: Sequence[str]) -> Path:
        """A kubeconfig with which any client is that user, of those groups."""
        asked = (user, tuple(groups))
        if asked not in self._kubeconfigs:
            path = self._folder / f"kubeconfig-{len(self._kubeconfigs)}"
            path.write_text(self._kubeconfig(self._certificate(user, groups)))
            self._kubeconfigs[asked] = path
        return self._kubeconfigs[asked]

    def _kubeconfig(self, user: dict[str, str]) -> str:
        cluster = {"server": self._url, "certificate-authority-data": _base64(self._authority.cert_pem.bytes())}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "real", "cluster": cluster}],
                "users": [{"name": "real", "user": user}],
                "contexts": [{"name": "real", "context": {"cluster": "real", "user": "real"}}],
                "current-context": "real",
            }
        )

    def _certificate(self, user: str, groups: Sequence[str]) -> dict[str, str]:
        """A client certificate: Kubernetes reads the user from its common name, the groups from its organizations."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        now = dt.datetime.now(dt.UTC)
        issued = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(names))
            .issuer_name(x509.load_pem_x509_certificate(self._authority.cert_pem.bytes()).subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LIFETIME)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._signing_key(), hashes.SHA256())
        )
        certificate = issued.public_bytes(serialization.Encoding.PEM)
        return {"client-certificate-data": _base64(certificate), "client-key-data": _base64(_pem(key))}

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
