"""A D-Bus of its own for a lab node: the configuration of its dbus-daemon."""

from __future__ import annotations

from pathlib import Path

from ipfod.lab.program import PACKAGE_ROOT

SOCKET = "/run/dbus/system_bus_socket"  # where every client looks for the system bus
NAME = "org.ipfod.Ipfod1"
POLICIES = (PACKAGE_ROOT / "dbus" / f"{NAME}.conf", Path("/usr/share/dbus-1/system.d") / f"{NAME}.conf")
DTD = "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"

# As dbus-daemon's own /usr/share/dbus-1/system.conf: names and calls are denied until a service's policy allows
# them.
CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "{dtd}">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
{policy}
</busconfig>
"""


def configuration() -> str:
    """The dbus-daemon configuration, with ipfod's own bus policy: the checkout's, else the installed one."""
    policy = next((f"  <include>{path}</include>" for path in POLICIES if path.exists()), "")
    return CONFIGURATION.format(dtd=DTD, socket=SOCKET, policy=policy)
