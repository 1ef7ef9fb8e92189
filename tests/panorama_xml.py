"""Panorama configurations in a few words, for tests: `config(shared=…, groups={…})` gives the XML as a tree."""

from xml.etree.ElementTree import Element, fromstring

ANY = "any"
DEVICE = '<entry name="localhost.localdomain">'


def members(tag, *names):
    return f"<{tag}>{''.join(f'<member>{name}</member>' for name in names)}</{tag}>"


def entry(name, body="", **attributes):
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<entry name="{name}"{more}>{body}</entry>'


def section(tag, *entries):
    return f"<{tag}>{''.join(entries)}</{tag}>"


def rule(name="rule", action="allow", *, extra="", **lists):
    """A security rule; every list is `any` unless given, one of None is left out. `extra` is XML put in at the end."""
    names = {"from": ANY, "to": ANY, "source": ANY, "destination": ANY, "application": ANY, "service": ANY}
    names |= {key.rstrip("_").replace("_", "-"): value for key, value in lists.items()}
    body = "".join(
        members(tag, *([value] if isinstance(value, str) else value))
        for tag, value in names.items()
        if value is not None
    )
    return entry(name, body + (f"<action>{action}</action>" if action else "") + extra, uuid=f"uuid-{name}")


def rulebase(kind, *rules, defaults=()):
    default_rules = (
        f"<default-security-rules>{section('rules', *defaults)}</default-security-rules>" if defaults else ""
    )
    return f"<{kind}-rulebase><security>{section('rules', *rules)}</security>{default_rules}</{kind}-rulebase>"


def config_text(shared="", groups=None, parents=None, predefined="", templates="", *, hierarchy=True):
    groups = groups if groups is not None else {"dg": ""}
    device_groups = "".join(entry(name, body) for name, body in groups.items())
    parents = dict.fromkeys(groups) | (parents or {})
    tree = "".join(
        entry(name, f"<parent-dg>{parent}</parent-dg>" if parent else "") for name, parent in parents.items()
    )
    readonly = f"<readonly><devices>{DEVICE}<device-group>{tree}</device-group></entry></devices></readonly>"
    return (
        f'<config version="11.1.0"><shared>{shared}</shared>'
        f"<devices>{DEVICE}<device-group>{device_groups}</device-group>{templates}</entry></devices>"
        f"{readonly if hierarchy else ''}"
        f"{f'<predefined>{predefined}</predefined>' if predefined else ''}</config>"
    )


def config(*args, **kwargs) -> Element:
    return fromstring(config_text(*args, **kwargs))
