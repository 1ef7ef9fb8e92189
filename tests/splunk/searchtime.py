"""What Splunk makes of an event when it is searched: JSON, transforms, aliases, calculated fields, event types, tags.

In Splunk's order: extractions, then aliases, then calculated fields, which all see what was there before any of them.
"""

import configparser
import json
import re

from tests.splunk.evaluation import Expression
from tools.splunk import APP

ALIAS = re.compile(r'("[^"]+"|\S+) AS (\S+)')


def stanzas(name):
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str
    parser.read_string((APP / "default" / f"{name}.conf").read_text())
    return {section: dict(parser[section]) for section in parser.sections()}


PROPS, TRANSFORMS = stanzas("props"), stanzas("transforms")
EVENTTYPES, TAGS, MACROS = stanzas("eventtypes"), stanzas("tags"), stanzas("macros")
SAVED = stanzas("savedsearches")


def aliases(sourcetype):
    """Each alias, and what it stands for."""
    found = {}
    for key, value in PROPS[sourcetype].items():
        if key.startswith("FIELDALIAS-"):
            pairs = [(target, source.strip('"')) for source, target in ALIAS.findall(value)]
            assert " ".join(f"{part}" for part in value.split()).count(" AS ") == len(pairs)
            assert not found.keys() & dict(pairs).keys(), f"{sourcetype}: two aliases of one name"
            found |= dict(pairs)
    return found


def calculated(sourcetype):
    return {
        key.removeprefix("EVAL-"): Expression(value)
        for key, value in PROPS[sourcetype].items()
        if key.startswith("EVAL-")
    }


def flattened(value, path=""):
    """As KV_MODE=json names fields: a list's are `name{}`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield f"{path}{{}}", value
    else:
        yield path, str(value).lower() if isinstance(value, bool) else value


def pattern(name):
    return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", TRANSFORMS[name]["REGEX"]))


def extracted(sourcetype, line):
    """By the transforms, in their order; what is there already stays. Empty values are no values."""
    fields = {}
    for name in PROPS[sourcetype].get("REPORT-zonebridge", "").split(", "):
        found = pattern(name).search(line)
        if found is None:
            continue
        constants = TRANSFORMS[name].get("FORMAT")
        values = dict(part.split("::") for part in constants.split()) if constants else found.groupdict()
        fields = {key: value for key, value in values.items() if value} | fields
    return fields


def searched(sourcetype, raw):
    """All fields of an event."""
    if PROPS[sourcetype].get("KV_MODE") == "json":
        fields = dict(flattened(json.loads(raw)))
        # What the collector indexed beside the event is there a second time.
        fields |= {name: [fields[name]] * 2 for name in ("id", "cluster")}
    else:
        fields = extracted(sourcetype, raw)
    fields |= {name: fields[source] for name, source in aliases(sourcetype).items() if source in fields}
    values = {name: expression.value(fields) for name, expression in calculated(sourcetype).items()}
    made = fields | values | {"sourcetype": sourcetype}
    return {name: value for name, value in made.items() if value is not None}


_TERM = re.compile(r"(?P<no>NOT )?(?P<field>\w+)(?:=(?P<value>\S+)| IN \((?P<values>[^)]*)\))")


def matches(search, event):
    """An event type's search: terms that all must hold."""
    assert not _TERM.sub("", search).strip(), f"{search}: more than terms"
    for term in _TERM.finditer(search):
        wanted = [term["value"]] if term["value"] else [word.strip(' "') for word in term["values"].split(",")]
        value = event.get(term["field"])
        holds = value is not None and any(
            re.fullmatch(re.escape(word).replace(r"\*", ".*"), str(value)) for word in wanted
        )
        if holds == bool(term["no"]):
            return False
    return True


def tags(event):
    """Of all event types that it has."""
    types = [name for name, stanza in EVENTTYPES.items() if matches(stanza["search"], event)]
    return {tag for name in types for tag in TAGS.get(f"eventtype={name}", {})}, set(types)
