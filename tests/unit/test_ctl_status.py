"""What `ipfoctl status`, `history` and `events` look like, from documents as the daemon writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipfod.ctl.description import narrow, parse, read
from ipfod.ctl.failures import CommandFailed, Exit
from ipfod.ctl.status import rendered
from ipfod.ctl.text import clock, render
from ipfod.ctl.transitions import event_of, group_name, ordered, rendered_event, rendered_history

NOW = 1_700_000_000_000_000
MINUTE = 60_000_000


def group(index: int, state: str, *virtual_ips: str, **more: Any) -> dict[str, Any]:
    return {
        "name": f"web_VIP_{index}",
        "state": state,
        "state_reason": "no other node advertises it",
        "master": "10.0.0.1",
        "failover": "web",
        "virtual_router_id": 10 + index,
        "priority": 254,
        "since": NOW - 3 * MINUTE,
        "virtual_ips": list(virtual_ips),
        "preemption": "preempt_delay 300",
        "preemption_origin": "configuration",
        **more,
    }


def document(*groups: dict[str, Any], held: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    addresses = [address for each in groups for address in each["virtual_ips"]]
    failover = {
        "name": "web",
        "interface": "eth0",
        "configuration_file": "/etc/ipfod/web.toml",
        "preemption": "preempt_delay 300",
        "preemption_origin": "configuration",
        "check_state": "passing",
        "check_text": "port 80 answers",
        "keepalived_state": "running",
        "keepalived_pid": 4711,
        "unicast": False,
        "peers": [],
        "virtual_ips": addresses,
        "groups": list(groups),
    }
    return {
        "version": "0.1.0",
        "node_name": "node-a",
        "maintenance": False,
        "maintenance_reason": "",
        "maintenance_until": 0,
        "problems": [],
        "failovers": [failover],
        "virtual_ips": [{"address": address, "held": address in held} for address in addresses],
        **more,
    }


def text_of(said: dict[str, Any], *names: str, colour: bool = False) -> str:
    described = read(narrow(said, names))
    return render(rendered(described, NOW, narrowed=bool(names)), colour=colour)


TWO_GROUPS = document(
    group(1, "master", "192.168.3.10", "192.168.3.11"),
    group(
        2, "backup", "192.168.3.12", master="10.0.0.2", state_reason="advert from 10.0.0.2 with priority 250"
    ),
    held=("192.168.3.10", "192.168.3.11"),
)


def test_a_healthy_node_fits_on_one_screen() -> None:
    assert text_of(TWO_GROUPS).splitlines() == [
        "node-a: ipfod 0.1.0; 1 failover, 2 groups (1 master, 1 backup), 3 virtual IPs, 2 held here",
        "",
        "web on eth0, keepalived running (pid 4711), check passing (port 80 answers)",
        "  preempt_delay 300, multicast, /etc/ipfod/web.toml",
        "  GROUP      VIRTUAL IPS      STATE   MASTER    SINCE  WHY",
        "  web_VIP_1  192.168.3.10-11  master  10.0.0.1  3 min  no other node advertises it",
        "  web_VIP_2  192.168.3.12     backup  10.0.0.2  3 min  advert from 10.0.0.2 with priority 250",
    ]


def many(*odd: dict[str, Any]) -> dict[str, Any]:
    groups = [
        group(index, "master" if index % 2 else "backup", f"10.1.0.{index}", master=f"10.0.0.{2 - index % 2}")
        for index in range(1, 256)
    ]
    for each in odd:
        groups[int(each["name"].rpartition("_")[2]) - 1] = each
    held = [address for each in groups if each["state"] == "master" for address in each["virtual_ips"]]
    return document(*groups, held=tuple(held))


def test_255_groups_fit_on_one_screen_too() -> None:
    assert text_of(many()).splitlines()[3:] == [
        "  preempt_delay 300, multicast, /etc/ipfod/web.toml",
        "  STATE   MASTER    GROUPS  VIRTUAL IPS  LAST CHANGE",
        "  master  10.0.0.1  128     128          3 min",
        "  backup  10.0.0.2  127     127          3 min",
        "  255 groups: name some, or virtual IPs, or say --all to see each",
    ]


def test_of_255_groups_those_that_stand_out_are_shown() -> None:
    said = many(group(7, "fault", "10.1.0.7"), group(8, "backup", "10.1.0.8", master=""))
    said["virtual_ips"][8]["held"] = False
    lines = text_of(said).splitlines()
    assert lines[5:10] == [
        "  master  10.0.0.1  127     127          3 min",
        "  backup  -         1       1            3 min",
        "  backup  10.0.0.2  126     126          3 min",
        "  fault   10.0.0.1  1       1            3 min",
        "",
    ]
    assert [entry.split()[0] for entry in lines[10:14]] == ["GROUP", "web_VIP_7", "web_VIP_8", "web_VIP_9"]
    assert "(not on eth0: 10.1.0.9)" in lines[13]
    assert lines[14:] == ["  252 more groups: name some, or virtual IPs, or say --all to see each"]


def test_all_of_255_groups_or_some_are_shown_on_demand() -> None:
    every = render(rendered(read(many()), NOW, every=True), colour=False).splitlines()
    assert sum("web_VIP_" in entry for entry in every) == 255
    some = text_of(many(), "web_VIP_3", "10.1.0.200").splitlines()
    assert [entry.split()[0] for entry in some[5:]] == ["web_VIP_3", "web_VIP_200"]


def test_many_groups_that_all_stand_out_are_cut_off_at_a_screen() -> None:
    lines = text_of(many(*(group(index, "fault", f"10.1.0.{index}") for index in range(1, 256)))).splitlines()
    assert len(lines) < 45
    assert lines[-1] == "  225 more groups: name some, or virtual IPs, or say --all to see each"


def test_many_problems_are_cut_off() -> None:
    problems = [
        {"code": "split-brain", "object": f"web_VIP_{index}", "text": "two", "hint": "", "since": NOW}
        for index in range(1, 256)
    ]
    lines = text_of({**TWO_GROUPS, "problems": problems}).splitlines()
    assert "255 problems:" in lines
    assert "  245 more problems: say --all to see each" in lines
    assert sum("split-brain" in entry for entry in lines) == 10


def test_problems_come_before_failovers_with_sentence_and_hint() -> None:
    problem = {
        "code": "check-failing",
        "object": "web",
        "text": "web: port 80 refuses connections",
        "hint": "start the service",
        "since": NOW - 5 * MINUTE,
    }
    lines = text_of({**TWO_GROUPS, "problems": [problem]}).splitlines()
    assert lines[2:6] == [
        "1 problem:",
        "  check-failing  web for 5 min",
        "    web: port 80 refuses connections",
        "    -> start the service",
    ]
    assert lines.index("1 problem:") < lines.index(
        "web on eth0, keepalived running (pid 4711), check passing (port 80 answers)"
    )


@pytest.mark.parametrize(
    ("reason", "until", "said"),
    [
        ("", 0, "in maintenance until it is left (ipfoctl maintenance off)"),
        ("new disk", 0, "in maintenance until it is left (ipfoctl maintenance off): new disk"),
        ("new disk", NOW, f"in maintenance until {clock(NOW)[:16]}: new disk"),
        ("a\nb\x1b[31m", 0, "in maintenance until it is left (ipfoctl maintenance off): a b [31m"),
    ],
)
def test_maintenance_stands_below_the_first_line(reason: str, until: int, said: str) -> None:
    more = {"maintenance": True, "maintenance_reason": reason, "maintenance_until": until}
    lines = text_of({**TWO_GROUPS, **more}).splitlines()
    assert lines[0].startswith("node-a: ")
    assert lines[1] == said
    assert lines[2] == ""
    assert f"\x1b[33m{said}\x1b[0m" in text_of({**TWO_GROUPS, **more}, colour=True)


def test_without_maintenance_nothing_is_said_of_it() -> None:
    kept = {"maintenance_reason": "over", "maintenance_until": NOW}
    assert "maintenance" not in text_of({**TWO_GROUPS, **kept})


@pytest.mark.parametrize(
    "more",
    [
        {"maintenance": "yes"},
        {"maintenance": None},
        {"maintenance_reason": 7},
        {"maintenance_until": "soon"},
    ],
)
def test_maintenance_of_another_shape_is_not_understood(more: dict[str, Any]) -> None:
    with pytest.raises(CommandFailed, match="does not understand: maintenance"):
        text_of({**TWO_GROUPS, **more})


def test_a_node_without_failovers_says_how_to_get_one() -> None:
    said = {**document(), "failovers": []}
    assert "No failover is configured: put a file into /etc/ipfod, then: ipfoctl reload" in text_of(said)


def test_a_node_whose_only_file_is_refused_is_not_told_to_write_one() -> None:
    refused = {
        "code": "configuration-invalid",
        "object": "/etc/ipfod/web.toml",
        "text": "x",
        "hint": "y",
        "since": 1,
    }
    text = text_of({**document(), "failovers": [], "problems": [refused]})
    assert "No failover runs: correct what is refused, then: ipfoctl reload" in text
    assert "No failover is configured" not in text


def test_what_the_kernel_contradicts_is_said() -> None:
    said = document(
        group(1, "master", "10.1.0.1", "10.1.0.2"),
        group(2, "backup", "10.1.0.9"),
        held=("10.1.0.1", "10.1.0.9"),
    )
    text = text_of(said)
    assert "(not on eth0: 10.1.0.2)" in text
    assert "(still on eth0: 10.1.0.9)" in text


def test_states_are_coloured_by_how_much_they_need_attention() -> None:
    text = text_of(document(group(1, "master"), group(2, "fault"), group(3, "backup")), colour=True)
    assert "\x1b[32mmaster\x1b[0m" in text
    assert "\x1b[31mfault\x1b[0m" in text
    assert "\x1b[" not in text.split("backup")[1].split("\n")[0]


def test_a_keepalived_that_does_not_run_is_red() -> None:
    said = document(group(1, "stopped"))
    said["failovers"][0] |= {"keepalived_state": "failed", "keepalived_pid": 0}
    assert "\x1b[31mkeepalived failed\x1b[0m" in text_of(said, colour=True)


def test_a_policy_set_at_runtime_is_told_from_the_file_s() -> None:
    said = document(group(1, "master"))
    said["failovers"][0] |= {"preemption": "nopreempt", "preemption_origin": "runtime", "unicast": True}
    assert "  nopreempt (set at runtime), unicast, /etc/ipfod/web.toml" in text_of(said).splitlines()


def test_escape_sequences_in_a_reason_do_not_reach_the_terminal() -> None:
    said = document(group(1, "fault", state_reason="check failed: \x1b]0;owned\x07\nroot@node-a:~# "))
    assert "\x1b" not in text_of(said)
    assert "\x07" not in text_of(said)
    assert len(text_of(said).splitlines()) == len(text_of(document(group(1, "fault"))).splitlines())


def test_many_virtual_ips_of_a_group_are_shortened_unless_it_is_named() -> None:
    addresses = [f"10.1.0.{number}" for number in range(1, 32, 2)]
    said = document(group(1, "master", *addresses), held=tuple(addresses))
    assert "10.1.0.1, 10.1.0.3 and 14 more" in text_of(said)
    assert ", ".join(addresses) in text_of(said, "web_VIP_1")


@pytest.mark.parametrize("name", ["web_VIP_2", "192.168.3.12"])
def test_a_group_is_found_by_its_name_and_by_its_virtual_ip(name: str) -> None:
    narrowed = narrow(TWO_GROUPS, [name])
    assert [each["name"] for each in narrowed["failovers"][0]["groups"]] == ["web_VIP_2"]
    assert [each["address"] for each in narrowed["virtual_ips"]] == ["192.168.3.12"]


def test_the_name_of_a_failover_means_all_of_its_groups() -> None:
    other = {**document(group(1, "master", "10.9.0.1"))["failovers"][0], "name": "other"}
    said = {**TWO_GROUPS, "failovers": [*TWO_GROUPS["failovers"], other]}
    narrowed = narrow(said, ["web"])
    assert [(each["name"], len(each["groups"])) for each in narrowed["failovers"]] == [("web", 2)]


def test_a_name_that_means_nothing_is_named_in_the_error() -> None:
    with pytest.raises(CommandFailed, match=r"10\.9\.9\.9, nix: no failover, group or virtual IP") as caught:
        narrow(TWO_GROUPS, ["web", "nix", "10.9.9.9"])
    assert caught.value.exit_code is Exit.FAILED


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (None, "no JSON object"),
        ("[1]", "no JSON object"),
        ("{", "no JSON object"),
        ("{}", "virtual_ips is missing"),
        (json.dumps({**TWO_GROUPS, "problems": ["what"]}), "problems is not a list of objects"),
        (json.dumps({**TWO_GROUPS, "node_name": 7}), "node_name is 7"),
    ],
)
def test_an_answer_of_another_shape_is_an_error_that_names_the_key(answer: object, named: str) -> None:
    with pytest.raises(CommandFailed, match=named):
        read(parse(answer))


# ---------------------------------------------------------------- history and events

PATH = "/org/ipfod/Ipfod1/failover/db_2dmain/group/_310"
ENTRY = {
    "group": PATH,
    "name": "db_main_VIP_10",
    "old": "backup",
    "new": "master",
    "reason": "no other node advertises it",
    "usec": NOW,
}


def test_the_newest_transition_is_shown_last() -> None:
    newer = {**ENTRY, "usec": NOW + 1_000, "old": "master", "new": "fault", "reason": "check failed"}
    lines = render(rendered_history(ordered([newer, ENTRY])), colour=False).splitlines()
    assert lines[0].split() == ["TIME", "GROUP", "CHANGE", "WHY"]
    assert lines[1].endswith("db_main_VIP_10  backup -> master  no other node advertises it")
    assert lines[2].endswith("db_main_VIP_10  master -> fault   check failed")


def test_no_transition_is_said_as_such() -> None:
    assert render(rendered_history([]), colour=False) == "No group has changed its state yet.\n"


@pytest.mark.parametrize("answer", [None, "x", [1], [{**ENTRY, "usec": "now"}], [{"group": PATH}]])
def test_a_history_of_another_shape_is_an_error(answer: object) -> None:
    with pytest.raises(CommandFailed, match="GetHistory"):
        ordered(answer)


def test_a_group_is_named_after_its_path_alone() -> None:
    assert group_name(PATH) == "db_main_VIP_10"
    assert group_name("/somewhere/else") == "/somewhere/else"


def test_a_transition_becomes_one_line_and_one_object() -> None:
    event = event_of("Transition", "ossst", [PATH, "backup", "master", "why not", NOW])
    assert event == {**ENTRY, "event": "Transition", "reason": "why not"}
    assert render([rendered_event(event, NOW)], colour=False).endswith(
        ".000  db_main_VIP_10  backup -> master  why not\n"
    )


def test_of_a_problem_in_several_lines_an_event_shows_the_first() -> None:
    problem = {
        "code": "configuration-invalid",
        "object": "a.toml",
        "text": "one\ntwo\nthree",
        "hint": "",
        "since": NOW,
    }
    shown = render([rendered_event({"event": "ProblemRaised", **problem}, 0)], colour=False)
    assert shown.endswith("  a.toml  problem: configuration-invalid  one (and 2 lines more)\n")


def test_a_problem_s_beginning_and_end_become_lines() -> None:
    problem = {"code": "check-failing", "object": "web", "text": "port 80 refuses", "hint": "do", "since": NOW}
    raised = event_of("ProblemRaised", "a{sv}", [problem])
    cleared = event_of("ProblemCleared", "a{sv}", [problem])
    assert raised == {"event": "ProblemRaised", **problem}
    assert raised is not None
    assert cleared is not None
    assert render([rendered_event(raised, 0)], colour=False).endswith(
        "  web  problem: check-failing  port 80 refuses -> do\n"
    )
    assert render([rendered_event(cleared, NOW)], colour=False).endswith(
        "  web  solved: check-failing  port 80 refuses\n"
    )


@pytest.mark.parametrize(
    ("member", "signature"), [("Transition", "s"), ("Other", "ossst"), ("ProblemRaised", "")]
)
def test_a_signal_that_is_not_as_documented_is_passed_over(member: str, signature: str) -> None:
    assert event_of(member, signature, [PATH, "a", "b", "c", 1]) is None
