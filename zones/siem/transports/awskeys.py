"""Where AWS keys come from: the environment, EKS Pod Identity (or ECS), a service account's role, or the instance.

Each is asked as AWS's own programs ask it, in their order. Keys that end are asked for again before they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from defusedxml.ElementTree import ParseError, fromstring

from zones.siem.protocols.sigv4 import Keys

_EARLY, _TIMEOUT = timedelta(minutes=5), 10.0
_ECS, _INSTANCE = "http://169.254.170.2", "http://169.254.169.254/latest"
_STS = "{https://sts.amazonaws.com/doc/2011-06-15/}"


class NoKeysError(ValueError):
    """There are no keys, or whoever gives them refused."""


class KeysUnreachableError(Exception):
    """Whoever gives the keys didn't answer."""


def _connect(*, proxied: bool) -> httpx.AsyncClient:
    """Not the log store's own client, which may trust an authority of its own. What is on the node has no proxy."""
    return httpx.AsyncClient(timeout=_TIMEOUT, trust_env=proxied, follow_redirects=False)


@dataclass(slots=True)
class KeyRing:
    """The keys as of now. `connect` makes the client that asks for temporary ones."""

    environment: Mapping[str, str]
    region: str
    connect: Callable[..., httpx.AsyncClient] = _connect
    instance: str = _INSTANCE
    sts: str | None = None
    _held: tuple[Keys, datetime | None] | None = None

    async def keys(self) -> Keys:
        """Raises NoKeysError, KeysUnreachableError, OSError."""
        if self.environment.get("AWS_ACCESS_KEY_ID") and self.environment.get("AWS_SECRET_ACCESS_KEY"):
            return self._given()
        now = datetime.now(UTC)
        if self._held is None or (self._held[1] is not None and now > self._held[1] - _EARLY):
            source = self._source()
            async with self.connect(proxied=source == self._role) as client:
                try:
                    self._held = await source(client)
                except httpx.RequestError as error:
                    asked, why = error.request.url, str(error) or type(error).__name__
                    raise KeysUnreachableError(f"{asked} can't be reached: {why}") from error
        return self._held[0]

    def forget(self) -> None:
        """After a refusal: ask again next time."""
        self._held = None

    def _given(self) -> Keys:
        variables = self.environment
        return Keys(
            variables["AWS_ACCESS_KEY_ID"],
            variables["AWS_SECRET_ACCESS_KEY"],
            variables.get("AWS_SESSION_TOKEN") or None,
        )

    def _source(self) -> Callable[[httpx.AsyncClient], Awaitable[tuple[Keys, datetime | None]]]:
        variables = self.environment
        if variables.get("AWS_WEB_IDENTITY_TOKEN_FILE") and variables.get("AWS_ROLE_ARN"):
            return self._role
        if variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or variables.get(
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
        ):
            return self._container
        return self._of_instance

    async def _role(self, client: httpx.AsyncClient) -> tuple[Keys, datetime | None]:
        """IAM roles for service accounts: the pod's token for the role's keys."""
        token = await asyncio.to_thread(Path(self.environment["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text, "utf-8")
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.environment["AWS_ROLE_ARN"],
            "RoleSessionName": self.environment.get("AWS_ROLE_SESSION_NAME", "zonebridge"),
            "WebIdentityToken": token.strip(),
        }
        response = await client.post(self.sts or f"https://sts.{self.region}.amazonaws.com/", data=form)
        if response.status_code != httpx.codes.OK:
            raise NoKeysError(f"the role is refused: HTTP {response.status_code}")
        try:
            credentials = fromstring(response.content).find(f".//{_STS}Credentials")
        except ParseError as error:
            raise NoKeysError("the answer about the role is not XML") from error
        fields = {} if credentials is None else {field.tag.removeprefix(_STS): field.text for field in credentials}
        return _keys(fields, "SessionToken")

    async def _container(self, client: httpx.AsyncClient) -> tuple[Keys, datetime | None]:
        variables = self.environment
        url = variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        url = url or _ECS + variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
        token = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            path = Path(variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
            token = (await asyncio.to_thread(path.read_text, "utf-8")).strip()
        response = await client.get(url, headers={"Authorization": token} if token else {})
        return _keys(_json(response, url), "Token")

    async def _of_instance(self, client: httpx.AsyncClient) -> tuple[Keys, datetime | None]:
        """The instance's role, by the second version of its metadata service."""
        answer = await client.put(f"{self.instance}/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "300"})
        if answer.status_code != httpx.codes.OK:
            raise NoKeysError(f"{self.instance}/api/token gives no token: HTTP {answer.status_code}")
        headers = {"X-aws-ec2-metadata-token": answer.text.strip()}
        place = f"{self.instance}/meta-data/iam/security-credentials/"
        role = await client.get(place, headers=headers)
        if role.status_code not in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            raise NoKeysError(f"{place} gives no role: HTTP {role.status_code}")
        if role.status_code == httpx.codes.NOT_FOUND or not role.text.strip():
            raise NoKeysError("there are no AWS keys: none in the environment, and this instance has no role")
        response = await client.get(place + role.text.split()[0], headers=headers)
        return _keys(_json(response, place), "Token")


def _json(response: httpx.Response, where: str) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except ValueError as error:
        raise NoKeysError(f"{where} gives no keys: HTTP {response.status_code}, no JSON") from error
    if response.status_code != httpx.codes.OK or not isinstance(answer, dict):
        raise NoKeysError(f"{where} gives no keys: HTTP {response.status_code}")
    return answer


def _keys(fields: Mapping[str, Any], session: str) -> tuple[Keys, datetime | None]:
    try:
        keys = Keys(fields["AccessKeyId"], fields["SecretAccessKey"], fields[session])
        return keys, datetime.fromisoformat(fields["Expiration"])
    except (KeyError, TypeError, ValueError) as error:
        raise NoKeysError(f"the answer has no keys: {error!r} is missing or wrong") from error
