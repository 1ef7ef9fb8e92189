"""The command that runs the SIEM until interrupted, one JSON line per event. `python -m mocks` calls `serve`."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mocks.siem.collector import Oversize
from mocks.siem.receivers import Siem
from mocks.siem.script import Step, read_step
from mocks.siem.tokens import Token

DEFAULT_TOKEN = "00000000-0000-4000-8000-000000000001"
KEPT = 10_000


def serve(  # noqa: PLR0917 # typer reads them
    hec_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    syslog_port: Annotated[int, typer.Option(min=0, max=65535, help="TCP; 0 takes a free one.")] = 0,
    syslog_tls_port: Annotated[int, typer.Option(min=0, max=65535, help="TLS; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    token: Annotated[list[str] | None, typer.Option(help="VALUE[:ack][:INDEX,INDEX]; repeatable.")] = None,
    tls_dir: Annotated[Path | None, typer.Option(help="Where ca.pem goes; a temporary folder otherwise.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where events go, one JSON line each; stdout otherwise.")] = None,
    hec_tls: Annotated[bool, typer.Option(help="HEC over HTTPS.")] = True,  # noqa: FBT002 # a flag
    max_content_length: Annotated[int, typer.Option(min=1, help="The largest HEC body, in octets.")] = 1_000_000,
    oversize: Annotated[str, typer.Option(help="A larger body is answered: 413 or 400.")] = "413",
    fault: Annotated[
        list[str] | None, typer.Option(help="KIND[:VALUE][*TIMES]: code:9*3, reset, slow:2, lose.")
    ] = None,
    ack_delay: Annotated[float, typer.Option(min=0, help="Seconds until an ackId is true.")] = 1.0,
) -> None:
    """A Splunk HEC and a syslog receiver, until interrupted."""
    tokens = [read_token(text) for text in token or [f"{DEFAULT_TOKEN}:ack"]]
    answer = read_oversize(oversize)
    steps = [read_fault(text) for text in fault or []]
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(out.open("a", encoding="utf-8")) if out else sys.stdout
            siem = Siem(
                *tokens,
                address=host,
                hec_port=hec_port,
                hec_tls=hec_tls,
                syslog_port=syslog_port,
                syslog_tls_port=syslog_tls_port,
                tls_dir=tls_dir,
                out=stream,
                keep=KEPT,
                max_content_length=max_content_length,
                oversize=answer,
                ack_delay=ack_delay,
            )
            siem.hec.script.steps += steps
            stack.enter_context(siem)
        except OSError as error:
            typer.echo(f"mock siem: {error}", err=True)
            raise typer.Exit(2) from error
        announce(siem)
        wait()


def read_token(text: str) -> Token:
    """VALUE[:ack][:INDEX,INDEX]."""
    value, *rest = text.split(":")
    indexes = tuple(name for part in rest if part != "ack" for name in part.split(","))
    if not value or not all(indexes):
        raise typer.BadParameter(f"{text!r}: write VALUE[:ack][:INDEX,INDEX]")
    return Token(value, use_ack="ack" in rest, indexes=indexes, index=indexes[0] if indexes else "main")


def read_fault(text: str) -> Step:
    try:
        return read_step(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}") from error


def read_oversize(text: str) -> Oversize:
    if text == "413":
        return "413"
    if text == "400":
        return "400"
    raise typer.BadParameter(f"{text!r} is neither 413 nor 400")


def announce(siem: Siem) -> None:
    """The line that scripts wait for."""
    print(
        f"siem ready at {siem.hec.url} syslog {siem.syslog.url} {siem.syslog_tls.url} ca {siem.ca_file}"
        f" tokens {' '.join(siem.hec.tokens)}",
        flush=True,
    )


def wait() -> None:
    """Until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
