"""A TLS receiver that reads and forgets: `python -m tests.bench.siem.sink PORT CERTIFICATE`."""

from __future__ import annotations

import socket
import ssl
import sys


def main(port: int, certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as stream:
                while stream.recv(1 << 20):
                    pass


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
