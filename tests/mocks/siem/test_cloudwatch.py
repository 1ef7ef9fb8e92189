"""The log store refuses what the real one would. That signatures are the SDK's, tests/zones/siem/test_sigv4.py shows."""

import ssl

import httpx
import pytest

from mocks.siem.cloudwatch import CloudWatch, ServiceError, check


@pytest.fixture
def store():
    with CloudWatch({"id": "secret"}, "group") as running:
        yield running


def sign(access, region, signature="0" * 64):
    scope = f"{access}/20261121/{region}/logs/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"


def call(store, headers):
    context = ssl.create_default_context(cafile=str(store.ca_file))
    with httpx.Client(verify=context) as client:
        return client.post(store.url, content=b"{}", headers={"X-Amz-Date": "20261121T112228Z"} | headers)


EVENT = {"timestamp": 1_000, "message": "m"}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [EVENT] * 10_001,
        [EVENT | {"timestamp": 2}, EVENT | {"timestamp": 1}],
        [EVENT, EVENT | {"timestamp": 1_000 + 24 * 3600 * 1000 + 1}],
        [EVENT | {"message": "x" * 600_000}, EVENT | {"message": "x" * 600_000}],
        [EVENT | {"message": ""}],
        [EVENT | {"extra": 1}],
    ],
)
def test_what_is_beyond_a_limit_is_refused(events):
    with pytest.raises(ServiceError):
        check(events)


def test_what_is_within_is_taken():
    check([EVENT] * 10_000)
    check([EVENT, EVENT | {"timestamp": 1_000 + 24 * 3600 * 1000}])
    check([EVENT | {"message": "x" * (1_048_576 - 26)}])


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer x"}, "MissingAuthenticationTokenException"),
        ({"Authorization": sign("other", "eu-central-1")}, "UnrecognizedClientException"),
        ({"Authorization": sign("id", "us-east-1")}, "InvalidSignatureException"),
        ({"Authorization": sign("id", "eu-central-1")}, "InvalidSignatureException"),
    ],
)
def test_who_does_not_sign_is_refused(store, headers, kind):
    assert kind in call(store, headers).json()["__type"]
