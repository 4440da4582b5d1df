"""Ports for servers that are started later."""

import socket

_kept = []


def free_port():
    """A port at which nobody listens. Whoever asks for any port gets another: a socket that doesn't listen keeps it, and
    servers, who set SO_REUSEADDR, may bind beside that."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    _kept.append(one)
    return one.getsockname()[1]
