"""libnftables, in one worker thread: list chains, list rules by their comment, run a transaction.

Facts that shape this (libnftables 1.0.6):
- A context is made for each call. One in which an insert has failed gives no handles afterwards, and a list
  with echo on prints two JSON documents; a fresh one costs 0.2 ms.
- When a context cannot open its netlink socket (no file descriptor left, no netfilter in the kernel) the
  library calls exit(). So the kernel is asked first, by a socket of our own.
- Listing a chain of 5000 rules takes 140 ms without the GIL, but another 20 ms in one json.loads() with it. So
  the document is parsed item by item, and the event loop gets its turn in between: whoever waits for the GIL is
  given it after 5 ms only (sys.getswitchinterval), or when this thread sleeps.
- In 1.0.x the JSON of a table with one flag (firewalld's `owner`) is made of memory already freed, and the heap
  is corrupt afterwards (valgrind). So nothing that lists tables is ever used, `list ruleset` least of all.
- Errors are text without errno.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ipfod.errors import IpfodError
from ipfod.firewall import netlink
from ipfod.firewall.chain import Chain, Expression, Rule

_ITEMS_AT_ONCE = 100  # rules, parsed in some 0.4 ms
_BREATH_S = 50e-6

Command = Mapping[str, Any]
_T = TypeVar("_T")

_OWNER_HINT = "ipfod needs CAP_NET_ADMIN, and a table with the flag `owner` takes rules from its owner only"


class NftError(IpfodError):
    """nftables refused, or could not be asked."""


class NftUnavailable(NftError):
    """This kernel has no nf_tables: there is no ruleset, so nothing of ours in it either."""


class Nft:
    """The ruleset of the network namespace that the process is in when the first call is made.

    Every method raises NftError. `thread_name` is what the kernel names as the author of our transactions.
    """

    def __init__(self) -> None:
        self.thread_name = f"ipfod-nft-{secrets.token_hex(2)}"  # 15 bytes at most: TASK_COMM_LEN, linux/sched.h
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=self.thread_name, initializer=self._name_thread)

    async def chains(self) -> tuple[Chain, ...]:
        """Every chain there is, regular ones too, in the kernel's order."""
        return await self._call(_list_chains)

    async def chains_holding(self, text: str) -> tuple[Chain, ...]:
        """The chains with a rule that holds a text somewhere, most likely in its comment; sorted."""
        return await self._call(lambda: _find_chains(text))

    async def rules(self, chain: Chain, *, prefix: str, protocol: int) -> tuple[Rule, ...]:
        """The rules of a chain whose comment begins with `prefix`, in order.

        Comments that iptables wrote are looked up only in rules that match the IP protocol number `protocol`.
        """
        return await self._call(lambda: tuple(_list_rules(chain, prefix, protocol)))

    async def statements(self, chain: Chain) -> tuple[tuple[Expression, ...], ...]:
        """What each rule of a chain says, in order, whoever wrote it."""
        return await self._call(lambda: tuple(_list_statements(chain)))

    async def transact(self, commands: Sequence[Command]) -> None:
        """Run commands so that all of them take effect at once, or none."""
        await self._call(lambda: _run(commands))

    def close(self) -> None:
        """End the thread; a call that is running is let finish."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function)

    def _name_thread(self) -> None:
        with contextlib.suppress(OSError):  # then our own changes wake us once more, no worse
            Path("/proc/thread-self/comm").write_text(self.thread_name, encoding="ascii")


def insert(chain: Chain, comment: str, expressions: Sequence[Expression]) -> Command:
    """The command that puts a rule at the head of a chain."""
    return {"insert": {"rule": {**_at(chain), "comment": comment, "expr": list(expressions)}}}


def delete(rule: Rule) -> Command:
    """The command that takes a rule out which was listed just before."""
    return {"delete": {"rule": {**_at(rule.chain), "handle": rule.handle}}}


def _at(chain: Chain) -> dict[str, str]:
    return {"family": chain.family, "table": chain.table, "chain": chain.name}


def _list_chains() -> tuple[Chain, ...]:
    found = (item["chain"] for item in _items(_run([{"list": {"chains": None}}])) if "chain" in item)
    return tuple(_chain(each) for each in found)


def _chain(listed: Mapping[str, Any]) -> Chain:
    device = listed.get("dev", "")
    return Chain(
        listed["family"],
        listed["table"],
        listed["name"],
        hook=listed.get("hook", ""),
        kind=listed.get("type", ""),
        priority=listed.get("prio", 0),
        policy=listed.get("policy", ""),
        device=device if isinstance(device, str) else "",
    )


def _find_chains(text: str) -> tuple[Chain, ...]:
    with _kernel_errors():
        return tuple(sorted(Chain(*names) for names in netlink.chains_holding(text)))


def _list_statements(chain: Chain) -> Iterator[tuple[Expression, ...]]:
    return (tuple(rule["expr"]) for rule in _rules_in(chain))


def _rules_in(chain: Chain) -> Iterator[dict[str, Any]]:
    listed = _run([{"list": {"chain": {**_at(chain), "name": chain.name}}}])
    return (item["rule"] for item in _items(listed) if "rule" in item)


def _list_rules(chain: Chain, prefix: str, protocol: int) -> Iterator[Rule]:
    for rule in _rules_in(chain):
        comment = rule.get("comment", "")
        if not comment and _has_iptables_comment(rule["expr"], protocol):
            with contextlib.suppress(OSError):  # gone since it was listed
                comment = netlink.iptables_comment(chain.family, chain.table, chain.name, rule["handle"])
        if comment.startswith(prefix):
            yield Rule(chain, rule["handle"], comment, tuple(rule["expr"]))


def _has_iptables_comment(expressions: Sequence[Any], protocol: int) -> bool:
    """Whether a rule on this IP protocol has a comment by iptables-nft, of which JSON shows the name only."""
    l4proto = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": protocol}}
    return l4proto in expressions and {"xt": {"type": "match", "name": "comment"}} in expressions


def _run(commands: Sequence[Command]) -> str:
    """Run commands as one transaction in a context of their own and return what they print."""
    with _kernel_errors():
        netlink.check_available()
    context = _new_context()
    context.set_json_output(True)
    context.set_handle_output(True)
    context.set_stateless_output(True)  # no packet counters: rules compare equal
    context.set_numeric_proto_output(True)  # 112, not "vrrp" or whatever /etc/protocols says
    context.set_terse_output(True)  # no set elements, there may be millions
    text = json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *commands]})
    # Bytes in, bytes out: other people's comments need not be UTF-8.
    failed, output, error = context.cmd(text.encode())
    if failed:
        raise _error(error.decode(errors="replace"))
    return str(output.decode(errors="replace"))


@contextlib.contextmanager
def _kernel_errors() -> Iterator[None]:
    """Turn what the kernel answered to a socket of our own into the errors of this module."""
    try:
        yield
    except OSError as error:
        text = f"nftables: the kernel does not answer: {os.strerror(error.errno or errno.EIO)}"
        if error.errno == errno.EPERM:
            raise NftError(text, hint="ipfod needs CAP_NET_ADMIN") from error
        if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
            raise NftUnavailable("nftables: this kernel has no nf_tables", hint="modprobe nf_tables") from error
        raise NftError(text) from error


def _new_context() -> Any:
    try:
        # Here, so that ipfod starts without the package and can say that it is missing.
        from nftables import Nftables

        return Nftables()
    except (ImportError, OSError) as error:
        raise NftError(f"nftables: {error}", hint="install python3-nftables") from error


def _items(text: str) -> Iterator[dict[str, Any]]:
    """Each member of the array in `{"nftables": [...]}`, parsed one at a time."""
    decoder = json.JSONDecoder()
    at = text.find("[") + 1
    count = 0
    try:
        while at and not text.startswith("]", at := _next_item(text, at)):
            item, at = decoder.raw_decode(text, at)
            yield item
            count += 1
            if count % _ITEMS_AT_ONCE == 0:
                time.sleep(_BREATH_S)
    except ValueError as error:
        raise NftError(f"nftables: the listing cannot be read: {error}") from error


def _next_item(text: str, at: int) -> int:
    while text.startswith((",", " ", "\n"), at):
        at += 1
    return at


def _error(text: str) -> NftError:
    """The library's first complaint without its own coordinates."""
    first = text.strip().partition("\n")[0]
    said = re.sub(r"^(internal:[\d:-]+|netlink): ", "", first).removeprefix("Error: ")
    hint = _OWNER_HINT if "Operation not permitted" in said else ""
    return NftError(f"nftables: {said or 'refused without saying why'}", hint=hint)
