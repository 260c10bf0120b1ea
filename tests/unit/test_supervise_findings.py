"""What is wrong with the packet filter, in words that name it and the way out."""

from __future__ import annotations

from ipaddress import ip_address

from ipfod.firewall.chain import Chain, Direction
from ipfod.firewall.firewalld import ZoneReport, ZoneRule
from ipfod.firewall.keeper import FirewallReport
from ipfod.firewall.suspects import Packet, Suspect
from ipfod.node.model import ProblemCode
from ipfod.supervise.findings import Findings, Obstacle, problems

INPUT = Chain("inet", "filter", "input", hook="input")
ZONE_RULE = ZoneRule("public", "rule accept")
IN = Packet(Direction.INPUT, "eth0", ip_address("224.0.0.18"))
OUT = Packet(Direction.OUTPUT, "eth0", ip_address("ff02::12"))


def findings(**given: object) -> Findings:
    nothing: dict[str, object] = {
        "chains": FirewallReport(),
        "zones": ZoneReport(),
        "legacy": (),
        "fought": frozenset(),
        "other": "",
        "obstacles": (),
        "opened": frozenset({"web"}),
    }
    return Findings(**{**nothing, **given})  # type: ignore[arg-type]  # by name


def test_nothing_wrong_is_no_problem() -> None:
    assert problems(findings()) == ()


def test_all_obstacles_of_a_failover_are_one_problem_of_that_code() -> None:
    shut = Suspect(Chain("inet", "mine", "shut", hook="input"), certain=True)
    [problem] = problems(
        findings(obstacles=(Obstacle("web", IN, (shut,)), Obstacle("web", OUT, ())), legacy=())
    )
    assert problem.key == (ProblemCode.FIREWALL_BLOCKING, "web")
    assert problem.text == (
        "web: IPv4 adverts of other nodes arrive on eth0 but not at keepalived: "
        "chain inet mine shut drops them; "
        "IPv6 adverts of this node do not leave on eth0: no chain of nftables that drops them was found"
    )
    assert '"inet mine shut"' in problem.hint


def test_the_way_out_fits_the_place() -> None:
    def hint(chain: Chain) -> str:
        [problem] = problems(findings(obstacles=(Obstacle("web", IN, (Suspect(chain, certain=False),)),)))
        return problem.hint

    assert "firewall-cmd" in hint(Chain("inet", "firewalld", "filter_IN_public"))
    assert "firewall_chain" in hint(INPUT)
    assert "nft insert rule ip raw PREROUTING" in hint(Chain("ip", "raw", "PREROUTING", hook="prerouting"))


def test_a_fight_names_chain_and_rival_for_the_failovers_concerned() -> None:
    chains = FirewallReport(wanted={"web": (INPUT,), "db": ()})
    [problem] = problems(findings(chains=chains, fought=frozenset({INPUT}), other="nft"))
    assert problem.text == (
        "web: chain inet filter input: the rule for VRRP is removed again and again, "
        'last by "nft"; it is put back with pauses'
    )
    zones = ZoneReport(failovers={ZONE_RULE: ("web",)})
    [problem] = problems(findings(zones=zones, fought=frozenset({ZONE_RULE}), other="nft"))
    assert problem.text.startswith("web: firewalld, zone public: the rule for VRRP is removed again and again;")


def test_legacy_tables_are_told_to_those_who_want_the_firewall_opened() -> None:
    [problem] = problems(findings(legacy=("ip6tables filter",), opened=frozenset({"web"})))
    assert problem.key == (ProblemCode.FIREWALL_CHAIN_MISSING, "web")
    assert problem.hint.startswith("ip6tables-legacy -t filter -I INPUT -p vrrp -j ACCEPT")
    assert problems(findings(legacy=("ip6tables filter",), opened=frozenset())) == ()


def test_a_missing_chain_is_none_where_nothing_filters() -> None:
    missing = {"web": ("INPUT",)}
    assert problems(findings(chains=FirewallReport(missing=missing))) == ()
    [problem] = problems(findings(chains=FirewallReport(missing=missing, filters=True)))
    assert problem.code == ProblemCode.FIREWALL_CHAIN_MISSING
    assert 'there is no chain "INPUT"' in problem.text
    assert "use_unicast" not in problem.hint
    peered = findings(chains=FirewallReport(missing=missing, filters=True), peered=frozenset({"web"}))
    assert "use_unicast = true on every node" in problems(peered)[0].hint
