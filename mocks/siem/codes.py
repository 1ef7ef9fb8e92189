"""Splunk's HEC reply codes: number, HTTP status, text; and the refusal that carries one. It never sends anything.

Texts of 18 to 27 are as documented, never seen live; 28 is seen on Splunk Cloud only.
"""

from __future__ import annotations

SUCCESS = 0
TOKEN_DISABLED = 1
TOKEN_REQUIRED = 2
INVALID_AUTHORIZATION = 3
INVALID_TOKEN = 4
NO_DATA = 5
INVALID_FORMAT = 6
INCORRECT_INDEX = 7
CHANNEL_MISSING = 10
INVALID_CHANNEL = 11
EVENT_REQUIRED = 12
EVENT_BLANK = 13
ACK_DISABLED = 14
INDEXED_FIELDS = 15
NO_QUERY_AUTHORIZATION = 16
HEALTHY = 17

CODES: dict[int, tuple[int, str]] = {
    0: (200, "Success"),
    1: (403, "Token disabled"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    7: (400, "Incorrect index"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    14: (400, "ACK is disabled"),
    15: (400, "Error in handling indexed fields"),
    16: (400, "Query string authorization is not enabled"),
    17: (200, "HEC is healthy"),
    18: (503, "HEC is unhealthy, queues are full"),
    19: (503, "HEC is unhealthy, ack service unavailable"),
    20: (503, "HEC is unhealthy, queues are full, ack service unavailable"),
    21: (400, "Invalid token"),
    22: (400, "Token disabled"),
    23: (503, "Server is shutting down"),
    24: (200, "Queue is approaching its capacity limit"),
    25: (200, "ACK is approaching its capacity limit"),
    26: (429, "Queue is at capacity"),
    27: (429, "ACK channel is at capacity"),
    28: (400, "Data channel is missing; sticky sessions are required"),
}


def status_of(code: int) -> int:
    return CODES[code][0]


def text_of(code: int) -> str:
    return CODES[code][1]


class Refusal(Exception):  # noqa: N818 # an answer, not an error
    """The collector's "no": a code, and the number of the object that it names."""

    def __init__(self, code: int, event_number: int | None = None) -> None:
        super().__init__(f"{code} {text_of(code)}")
        self.code = code
        self.event_number = event_number
