"""VRRP on the wire: packets, the listener, the parting advert."""
