"""The signatures are those that AWS's own SDK makes; these were made with botocore 1.44.5."""

from datetime import UTC, datetime

import pytest

from zones.siem.protocols.sigv4 import Keys, SigningScope, signed

AT = datetime(2026, 11, 21, 11, 22, 28, tzinfo=UTC)
BODY = '{"logGroupName":"g","logStreamName":"ü","logEvents":[{"timestamp":1,"message":"a  b"}]}'.encode()
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HEADERS = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.PutLogEvents"}


@pytest.mark.parametrize(
    ("session", "names", "signature"),
    [
        (
            None,
            "content-type;host;x-amz-date;x-amz-target",
            "5e022204bd71dff5381cf409bab5547017aa5e57baa510d15e1e6a36ecce4067",
        ),
        (
            "a-session/token==",
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            "ff94e7921d55d7fb050003768afce66fb8cdf3b481b0a6c1ae00c13e30f7e2d2",
        ),
    ],
)
def test_signatures_are_the_sdks(session, names, signature):
    keys, scope = Keys("AKIDEXAMPLE", SECRET, session), SigningScope("eu-central-1", "logs")
    headers = signed(keys, scope, AT, "logs.eu-central-1.amazonaws.com", "/", HEADERS, BODY)
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-central-1/logs/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert headers["X-Amz-Date"] == "20261121T112228Z"
    assert headers.get("X-Amz-Security-Token") == session


def test_keys_are_not_shown():
    assert SECRET not in repr(Keys("AKIDEXAMPLE", SECRET, "token"))
    assert "token" not in repr(Keys("AKIDEXAMPLE", SECRET, "token"))
