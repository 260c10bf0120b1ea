"""Rules that nftables does not show: tables of the old iptables, still in the kernel beside it."""

from __future__ import annotations

from pathlib import Path

# One table name a line, of this network namespace; absent without the module. Source: net/netfilter/x_tables.c.
_FILES = {"iptables": Path("/proc/net/ip_tables_names"), "ip6tables": Path("/proc/net/ip6_tables_names")}


def legacy_tables() -> tuple[str, ...]:
    """The tables in use, e.g. ("iptables filter",). Each may drop adverts unseen; an empty one is named too."""
    found = []
    for program, file in _FILES.items():
        try:
            names = file.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        found += [f"{program} {name}" for name in names.split()]
    return tuple(found)
