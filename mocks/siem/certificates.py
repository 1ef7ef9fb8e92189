"""Certificates of a run: the authority's folder, and a client's files. It never serves; receivers and tests call it."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mocks.serving import Authority

ClientCertificate = Literal["none", "optional", "required"]
VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def create_authority(owner: object, directory: Path | None) -> Authority:
    """An authority in `directory`; without one, in a temporary folder that goes when its owner does."""
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="mock-siem-"))
        weakref.finalize(owner, shutil.rmtree, directory, ignore_errors=True)
    return Authority.create(directory)


@dataclass(frozen=True, slots=True)
class Certificate:
    cert_file: Path
    key_file: Path


def issue(authority: Authority, name: str, directory: Path) -> Certificate:
    """A certificate of the authority for `name`, written to `directory`."""
    leaf = authority.ca.issue_cert(name, common_name=name)
    files = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    leaf.private_key_pem.write_to_path(str(files.key_file))
    files.cert_file.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    return files


def server_context(authority: Authority, client: ClientCertificate, *names: str) -> ssl.SSLContext:
    """A server that asks for a client's certificate as told, and trusts those of the same authority."""
    context = authority.server_context(*names)
    context.verify_mode = VERIFY[client]
    context.load_verify_locations(str(authority.ca_file))
    return context
