"""Bodies that aren't events: gunzip under a cap, and the question of /ack. It never answers; the collector calls it."""

from __future__ import annotations

import json
import zlib

from mocks.siem.codes import INVALID_FORMAT, NO_DATA, Refusal


def gunzip(body: bytes, cap: int) -> bytes:
    """At most one byte above the cap, whatever the body says it holds."""
    plain = b""
    while body:
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            plain += stream.decompress(body, cap + 1 - len(plain))
        except zlib.error as error:
            raise Refusal(INVALID_FORMAT) from error
        if len(plain) > cap:
            return plain
        if not stream.eof:
            raise Refusal(INVALID_FORMAT)
        body = stream.unused_data
    return plain


def read_ack_query(body: bytes) -> list[int]:
    """`{"acks": [0, 1, 5]}`."""
    if not body.strip():
        raise Refusal(NO_DATA)
    try:
        query = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(INVALID_FORMAT) from error
    numbers = query.get("acks") if isinstance(query, dict) else None
    if not isinstance(numbers, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
        raise Refusal(INVALID_FORMAT)
    return numbers
