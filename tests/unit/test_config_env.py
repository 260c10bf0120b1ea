"""Environment files, against what a real shell reads from the same lines; and the daemon's environment."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.config import env
from ipfod.config.reading import UNREADABLE, Complaints

SETTING = "OPENSHIFT_HA_CONFIG_NAME"


def read(text: str) -> tuple[dict[str, object], list[str]]:
    complaints = Complaints("web.env")
    reading = env.read(text, complaints)
    assert reading.complete or complaints.fatal
    return {s.key: s.value for s in reading.settings if s.value is not UNREADABLE}, [
        str(complaint) for complaint in complaints.in_line_order()
    ]


AS_THE_SHELL = [
    "A=",
    "A=x",
    "A=1.1.1.1-2,1.1.1.9",
    "A='x y'",
    'A="x y"',
    "A=''",
    'A=""',
    "export A=x",
    "export  A='preempt_delay 300'",
    "  A=x  ",
    "\tA=x",
    'A="#x"',
    "A='a\"b'",
    'A="a\'b"',
    "A=/usr/bin/check.sh",
    "# A=y\nA=x\n\n   # more",
]


@pytest.mark.parametrize("text", AS_THE_SHELL)
def test_what_is_accepted_means_what_a_shell_makes_of_it(text: str) -> None:
    values, complaints = read(text)
    shell = subprocess.run(
        ["/bin/sh", "-c", f'{text}\nprintf %s "$A"'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert complaints == []
    assert values == {"A": shell.stdout.decode()}


def test_a_value_without_quotes_may_have_spaces_inside_as_systemd_reads_it() -> None:
    assert read(f"{SETTING}=preempt_delay 300 \n") == ({SETTING: "preempt_delay 300"}, [])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("A =x", "A: has spaces around ="),
        ("A= x", "A: has spaces around ="),
        ("A = x", "A: has spaces around ="),
        ("A=x # why", "A: has a # in its value: a comment needs a line of its own"),
        ("A='x' # why", "A: has text after its closing quote"),
        ("A='x'y", "A: has text after its closing quote"),
        ("A='x", "A: has a quote that is not closed"),
        ('A="', "A: has a quote that is not closed"),
        ("A=x'y'", "A: has a quote inside its value"),
        ("A", 'syntax: "A" is not an assignment'),
        ("export A", 'syntax: "export A" is not an assignment'),
        ("=x", 'syntax: "=x" is not an assignment'),
        ("1A=x", 'syntax: "1A=x" is not an assignment'),
        ("A-B=x", 'syntax: "A-B=x" is not an assignment'),
        ("A: x", 'syntax: "A: x" is not an assignment'),
        ("\u00c4=x", "syntax: "),
        ("A\x1b[31m", 'syntax: "A\\x1b[31m" is not an assignment'),
    ],
)
def test_what_shell_and_systemd_would_not_agree_on_is_refused_with_its_line(line: str, fault: str) -> None:
    values, (complaint,) = read(f"# first\n\n{line}\nB=1\n")
    assert values == {"B": "1"}
    assert complaint.startswith(f"web.env:3: {fault}")
    assert complaint.endswith("; KEY=VALUE, KEY='VALUE' or KEY=\"VALUE\" on one line")


def test_a_repeated_variable_is_refused_with_the_line_of_the_first() -> None:
    values, complaints = read("A=1\n;A=2\nexport A=1\n")
    assert values == {"A": "1"}
    assert complaints == ["web.env:3: A: is set twice, first on line 1; each variable once"]


def test_nothing_is_expanded() -> None:
    assert read('A="$HOME `id` \\n"')[0] == {"A": "$HOME `id` \\n"}


@settings(deadline=None, max_examples=300)
@given(st.text("AB=\"'#; \t\n\r\\$x\x00é", max_size=40))
def test_any_text_is_read_or_complained_of_line_by_line(text: str) -> None:
    values, complaints = read(text)
    assert all(complaint.isprintable() for complaint in complaints)
    meant = [line for line in text.split("\n") if line.strip(" \t") and line.strip(" \t")[0] not in "#;"]
    assert len(values) + len(complaints) == len(meant)


def test_of_the_environment_only_the_variables_of_ipfod_are_looked_at() -> None:
    reading = env.from_environment(
        {"PATH": "/bin", SETTING: "web", "HA_EXCLUDED_VRRP_IDS": "1", "HA_OTHER": "1", "OPENSHIFT_HA_X": "1"}
    )
    assert reading is not None
    assert [setting.key for setting in reading.settings] == ["HA_EXCLUDED_VRRP_IDS", SETTING, "OPENSHIFT_HA_X"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PATH": "/bin", "HOME": "/root"},
        {"OPENSHIFT_HA_VIRTUAL_IPS": "", "OPENSHIFT_HA_IPTABLES_CHAIN": "", "OPENSHIFT_HA_UNKNOWN": ""},
        {"HA_EXCLUDED_VRRP_IDS": "12"},
    ],
)
def test_an_environment_without_set_variables_defines_nothing(environ: dict[str, str]) -> None:
    assert env.from_environment(environ) is None
