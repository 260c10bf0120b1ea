"""What a D-Bus interface is made of, as frozen rows, and its introspection XML. Pure."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Argument = tuple[str, str]  # name, signature

# https://dbus.freedesktop.org/doc/dbus-specification.html#introspection-format
DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


@dataclass(frozen=True, slots=True)
class Method:
    """A method's name and arguments. What it does is the server's business."""

    name: str
    takes: tuple[Argument, ...] = ()
    gives: tuple[Argument, ...] = ()

    @property
    def in_signature(self) -> str:
        return "".join(signature for _, signature in self.takes)

    @property
    def out_signature(self) -> str:
        return "".join(signature for _, signature in self.gives)


@dataclass(frozen=True, slots=True)
class Signal:
    name: str
    gives: tuple[Argument, ...]

    @property
    def signature(self) -> str:
        return "".join(signature for _, signature in self.gives)


@dataclass(frozen=True, slots=True)
class Property:
    """A read-only property.

    `value` takes it out of what the interface shows (the view). `fields` are the fields of the view it follows
    from, so that a change of one of them is a change of the property; empty: it never changes.
    """

    name: str
    signature: str
    value: Callable[[Any], Any]
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    methods: tuple[Method, ...] = ()
    signals: tuple[Signal, ...] = ()
    properties: tuple[Property, ...] = ()

    def values(self, view: Any, names: Iterable[str] | None = None) -> dict[str, tuple[str, Any]]:
        """Signature and value of all properties, or of the named ones."""
        wanted = None if names is None else frozenset(names)
        return {
            row.name: (row.signature, row.value(view))
            for row in self.properties
            if wanted is None or row.name in wanted
        }

    def changed_by(self, fields: frozenset[str]) -> frozenset[str]:
        """The names of the properties that follow from any of these fields of the view."""
        return frozenset(row.name for row in self.properties if row.fields & fields)


def introspection(interfaces: Iterable[Interface], children: Iterable[str]) -> str:
    """The XML that org.freedesktop.DBus.Introspectable.Introspect answers."""
    lines = [DOCTYPE + "<node>"]
    for interface in interfaces:
        lines.append(f" <interface name={_quoted(interface.name)}>")
        for method in interface.methods:
            given = {"name": method.name}
            arguments = [*_arguments(method.takes, "in"), *_arguments(method.gives, "out")]
            lines += _element("method", given, arguments)
        for signal in interface.signals:
            lines += _element("signal", {"name": signal.name}, _arguments(signal.gives, None))
        for row in interface.properties:
            given = {"name": row.name, "type": row.signature, "access": "read"}
            constant = [f"   <annotation name={_quoted(EMITS_CHANGED)} value='const'/>"]
            lines += _element("property", given, [] if row.fields else constant)
        lines.append(" </interface>")
    lines += [f" <node name={_quoted(child)}/>" for child in children]
    return "\n".join([*lines, "</node>\n"])


def _element(tag: str, attributes: Mapping[str, str], inside: list[str]) -> list[str]:
    given = " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
    return [f"  <{tag} {given}>", *inside, f"  </{tag}>"] if inside else [f"  <{tag} {given}/>"]


def _arguments(arguments: Iterable[Argument], direction: str | None) -> list[str]:
    way = f' direction="{direction}"' if direction else ""
    return [f'   <arg name="{name}" type="{signature}"{way}/>' for name, signature in arguments]


def _quoted(text: str) -> str:
    """An XML attribute's value. (xml.sax would import half of the standard library's network code.)"""
    return f'"{html.escape(text)}"'
