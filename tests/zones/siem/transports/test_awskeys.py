"""Keys from wherever AWS gives them, asked for again before they end."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from zones.siem.protocols.sigv4 import Keys
from zones.siem.transports.awskeys import KeyRing, NoKeysError

STATIC = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


def until(minutes):
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def asked(environment, answer, times=1):
    """The keys of each asking, and the requests that were made for them."""
    requests = []

    def handler(request):
        requests.append(request)
        return answer(request)

    async def run():
        transport = httpx.MockTransport(handler)
        ring = KeyRing(environment, "eu-central-1", lambda *, proxied: httpx.AsyncClient(transport=transport))
        return [await ring.keys() for _ in range(times)]

    return asyncio.run(run()), requests


def container(request, minutes=60):
    told = {"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T", "Expiration": until(minutes)}
    return httpx.Response(200, json=told)


def test_the_environment_comes_first():
    found, requests = asked(
        STATIC | {"AWS_SESSION_TOKEN": "token", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}, container
    )
    assert found == [Keys("id", "secret", "token")]
    assert requests == []


def test_pod_identity(tmp_path):
    (tmp_path / "token").write_text("pod token\n")
    given = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
    }
    found, requests = asked(given, container, times=3)
    assert set(found) == {Keys("A", "S", "T")}
    assert [request.headers["Authorization"] for request in requests] == ["pod token"]


def test_keys_that_end_soon_are_asked_for_again():
    given = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials"}
    _, requests = asked(given, lambda request: container(request, minutes=4), times=3)
    assert [str(request.url) for request in requests] == ["http://169.254.170.2/v2/credentials"] * 3


def test_a_service_accounts_role(tmp_path):
    (tmp_path / "token").write_text("jwt")
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}

    def sts(request):
        text = request.content.decode()
        assert "Action=AssumeRoleWithWebIdentity" in text
        assert "WebIdentityToken=jwt" in text
        body = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
          <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>
          <SessionToken>T</SessionToken><Expiration>{until(60)}</Expiration></Credentials>
          </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
        return httpx.Response(200, text=body)

    found, requests = asked(given, sts, times=2)
    assert found == [Keys("A", "S", "T")] * 2
    assert [request.url.host for request in requests] == ["sts.eu-central-1.amazonaws.com"]


def test_the_instances_role():
    def metadata(request):
        if request.url.path.endswith("/api/token"):
            assert request.method == "PUT"
            return httpx.Response(200, text="session")
        assert request.headers["X-aws-ec2-metadata-token"] == "session"
        return httpx.Response(200, text="node-role\n") if request.url.path.endswith("/") else container(request)

    found, requests = asked({}, metadata)
    assert found == [Keys("A", "S", "T")]
    assert requests[-1].url.path.endswith("/security-credentials/node-role")


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"AccessKeyId": "A"}),
    ],
)
def test_no_keys_say_so(response):
    with pytest.raises(NoKeysError):
        asked({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/"}, lambda _: response)
    with pytest.raises(NoKeysError):
        asked({}, lambda _: response)


def test_a_refused_role_says_so(tmp_path):
    (tmp_path / "token").write_text("jwt")
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn"}
    with pytest.raises(NoKeysError, match="HTTP 403"):
        asked(given, lambda _: httpx.Response(403, text="<ErrorResponse/>"))
    with pytest.raises(NoKeysError):
        asked(given, lambda _: httpx.Response(200, text="not xml"))
    with pytest.raises(NoKeysError):
        asked(given, lambda _: httpx.Response(200, text="<a/>"))
