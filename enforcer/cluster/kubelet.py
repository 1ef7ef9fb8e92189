"""Asks this node's own kubelet, over its verified TLS, what it is configured to do. It keeps what checks look at alone.

With the right to nodes/configz and nothing else: a kubelet of Kubernetes 1.33 or newer has it as a right of its own.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import structlog

from zones.siem.records import Json

_PATH = "/configz"
_TIMEOUT = 10.0
_LONGEST = 1024 * 1024
_MOST_CIPHERS, _LONGEST_TEXT = 64, 200
_log = structlog.get_logger()


class KubeletConfiguration:
    """What the kubelet said last. `state`: for the NodeState; `settings`, or the `problem` why they aren't known."""

    def __init__(  # noqa: PLR0917 - what it needs
        self, address: str, name: str, token_file: Path, ca_file: Path, interval: float, heard: Callable[[], None]
    ) -> None:
        self._url = f"https://{address}{_PATH}"
        self._name = name
        self._token_file = token_file
        self._ca_file = ca_file
        self._interval = interval
        self._heard = heard
        self.state: Json = {"problem": "it was not asked yet"}

    async def run(self) -> None:
        """Until cancelled. `heard` is called where its answer is another one."""
        while True:
            state = await self.ask()
            if state != self.state:
                if problem := state.get("problem"):
                    _log.warning("the kubelet's configuration is not known", error=problem)
                self.state = state
                self._heard()
            await asyncio.sleep(self._interval)

    async def ask(self) -> Json:
        """Once. The token and the authority are read again each time: both are rotated."""
        try:
            token = (await asyncio.to_thread(self._token_file.read_text)).strip()
            trust = await asyncio.to_thread(ssl.create_default_context, cafile=str(self._ca_file))
        except OSError as error:
            return {"problem": f"the token or the authority can't be read: {error.strerror or error}"}
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with httpx.AsyncClient(verify=trust, timeout=_TIMEOUT, trust_env=False) as client:
                request = client.build_request("GET", self._url, headers=headers)
                request.extensions["sni_hostname"] = self._name  # its certificate is of the node, not of loopback
                response = await client.send(request, stream=True)
                try:
                    return await _answer(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            return {"problem": f"the kubelet doesn't answer: {str(error)[:_LONGEST_TEXT] or type(error).__name__}"}


async def _answer(response: httpx.Response) -> Json:
    if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return {
            "problem": f"the kubelet refuses ({response.status_code}): the enforcer needs the right nodes/configz, "
            "which kubelets know from Kubernetes 1.33 on"
        }
    if response.status_code != HTTPStatus.OK:
        return {"problem": f"the kubelet answers {response.status_code}"}
    text = b""
    async for part in response.aiter_bytes():
        text += part
        if len(text) > _LONGEST:
            return {"problem": "the kubelet's answer is too long"}
    try:
        return {"settings": settings_of(json.loads(text)["kubeletconfig"])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {"problem": "the kubelet's answer is no configuration"}


def settings_of(configuration: Mapping[str, Any]) -> Json:
    """What checks look at. Nothing else leaves the node: a header of staticPodURLHeader may be a secret.

    The kubelet tells its settings in effect, defaults included; what is false, 0 or empty it may leave out.
    """
    authentication = configuration.get("authentication") or {}
    ciphers = configuration.get("tlsCipherSuites") or ()
    gates = configuration.get("featureGates") or {}
    return {
        "anonymous": bool((authentication.get("anonymous") or {}).get("enabled")),
        "authorizationMode": str((configuration.get("authorization") or {}).get("mode") or "")[:_LONGEST_TEXT],
        "clientAuthority": bool((authentication.get("x509") or {}).get("clientCAFile")),
        "readOnlyPort": int(configuration.get("readOnlyPort") or 0),
        "idleTimeout": str(configuration.get("streamingConnectionIdleTimeout") or "0s")[:_LONGEST_TEXT],
        "utilityChains": bool(configuration.get("makeIPTablesUtilChains")),
        "servingCertificate": bool(
            (configuration.get("tlsCertFile") and configuration.get("tlsPrivateKeyFile"))
            or configuration.get("serverTLSBootstrap")
        ),
        "rotateCertificates": bool(configuration.get("rotateCertificates")),
        "rotateServerCertificate": gates.get("RotateKubeletServerCertificate") is not False,
        "ciphers": [str(cipher)[:_LONGEST_TEXT] for cipher in ciphers][:_MOST_CIPHERS],
        "podPidsLimit": int(configuration.get("podPidsLimit") or 0),
        "seccompDefault": bool(configuration.get("seccompDefault")),
    }
