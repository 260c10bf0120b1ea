"""IPFOD_METRICS_LISTEN: what is an address with a port, and what is refused with which sentence."""

from __future__ import annotations

import re

import pytest

from ipfod.errors import Failed
from ipfod.metrics.listen import parse


@pytest.mark.parametrize(
    ("value", "address", "port"),
    [
        ("127.0.0.1:9650", "127.0.0.1", 9650),
        ("[::1]:9650", "::1", 9650),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::]:65535", "::", 65535),
        ("[fe80::1%eth0]:9650", "fe80::1%eth0", 9650),
        (" 10.0.0.1:09650 ", "10.0.0.1", 9650),
    ],
)
def test_an_address_with_a_port_is_read(value: str, address: str, port: int) -> None:
    listen = parse(value)
    assert (str(listen.address), listen.port) == (address, port)
    assert parse(str(listen)) == listen


@pytest.mark.parametrize(
    "value",
    [
        "9650",
        ":9650",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "127.0.0.1:-1",
        "127.0.0.1:\u0661",  # a digit, but not one of ASCII
        "127.0.0.1:9650/metrics",
        "http://127.0.0.1:9650",
        "127.0.0.256:9650",
        "localhost:9650",
        "::1:9650",
        "[::1]",
        "[::1]9650",
        "[127.0.0.1]:9650",
        "[]:9650",
        "1:9650",
        " ",
        "127.0.0.1:9650\n10.0.0.1:9650",
        "127.0.0.1\x1b[2J:9650",
        "1" * 10_000,
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(value: str) -> None:
    with pytest.raises(Failed) as caught:
        parse(value)
    assert re.fullmatch(r'IPFOD_METRICS_LISTEN: ".*" is no address with a port', caught.value.text)
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 200
    assert "127.0.0.1:9650 or [::1]:9650" in caught.value.hint
