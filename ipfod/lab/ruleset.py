"""The packet filter of a lab node, as an administrator would have it: all is dropped but what is named."""

from __future__ import annotations

from collections.abc import Sequence

# Family, table and base chain, as Debian's and Fedora's /etc/nftables.conf name them.
USUAL = ("inet", "filter", "input")


def base_chain(chains: Sequence[str]) -> tuple[str, str, str]:
    """Family, table and name of the chain that drops: the first that is named exactly, else the usual one."""
    for chain in chains:
        if len(words := chain.split()) == 3:
            return words[0], words[1], words[2]
    return USUAL


def ruleset(chains: Sequence[str] = ()) -> str:
    """The nft script. VRRP is not let in: that is what ipfod does.

    `chains` is what the option `firewall_chain` names; a chain of the user's own is made too, and jumped to.
    """
    family, table, base = base_chain(chains)
    own = [name for name in chains if len(name.split()) == 1 and name.casefold() != base.casefold()]
    lines = [f"table {family} {table} {{"]
    lines += [f"  chain {name} {{ }}" for name in own]
    lines += [
        f"  chain {base} {{",
        "    type filter hook input priority filter; policy drop;",
        "    iif lo accept",
        "    ct state established,related accept",
        "    meta l4proto { icmp, ipv6-icmp } accept",
        *(f"    jump {name}" for name in own),
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def accept_vrrp() -> list[str]:
    """The nft arguments that let VRRP in, as whoever keeps ipfod away from the packet filter does by hand."""
    return ["add", "rule", *USUAL, "meta", "l4proto", "vrrp", "accept"]


def accept_port(port: int, chains: Sequence[str] = ()) -> list[str]:
    """The nft arguments that let a TCP port in."""
    return ["add", "rule", *base_chain(chains), "tcp", "dport", str(port), "accept"]
