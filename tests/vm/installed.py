"""ipfod as the package installs it, in a virtual machine: its configuration and the interface it is for."""

WEB = 'virtual_ips = "192.168.3.10"\nmonitor_port = 0\nkernel_modules = ["ip_vs", "dummy"]\n'
NETWORK = """
ip link add eth0 type veth peer name eth1
ip address add 192.168.3.1/24 dev eth0
ip link set eth1 up
ip link set eth0 up
"""
