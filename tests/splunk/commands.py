"""Which fields a search reads, for the commands that the app's searches consist of. An unknown command is an error."""

import re

from tests.splunk.evaluation import Expression
from tests.splunk.searchtime import MACROS

DEFAULT = {"_time", "index", "sourcetype", "eventtype", "source", "host"}
_WORD = re.compile(r'"[^"]*"|[^\s,()]+')
_AGGREGATE = re.compile(r"(\w+)(?:\((\w+)\))?(?: AS (\w+))?")
_SETTINGS = re.compile(r"\b(?:current|window|limit|span|value)=\S+")


def expanded(search):
    while (found := re.search(r"`(\w+)`", search)) is not None:
        search = search.replace(found[0], MACROS[found[1]]["definition"])
    return search


def read(search):
    """The fields that an event must bring along, each once."""
    wanted, made = set(), set()
    first, *rest = re.split(r"\s*\|\s*(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", expanded(search))
    for command in (f"search {first}", *rest):
        name, _, arguments = command.strip().partition(" ")
        uses, makes = _COMMANDS[name](arguments)
        wanted |= uses - made
        made |= makes
    return wanted - DEFAULT


def _filter(arguments):
    return set(re.findall(r"([\w.]+)\s*(?:!=|>=|<=|=|>|<| IN \()", re.sub(r'"[^"]*"', '""', arguments))), set()


def _eval(arguments):
    name, _, expression = arguments.partition("=")
    return Expression(expression).fields, {name.strip()}


def _aggregated(arguments):
    made, by = (
        re.split(r"\b(?:BY|OVER)\b", arguments, maxsplit=1)
        if re.search(r"\b(BY|OVER)\b", arguments)
        else (arguments, "")
    )
    uses, makes = set(re.split(r"[\s,]+|\bBY\b", by.replace(" BY ", " "))) - {""}, set()
    for function, field, name in _AGGREGATE.findall(_SETTINGS.sub("", made)):
        assert field or function == "count", f"{arguments}: {function} of nothing"
        uses |= {field} - {""}
        makes |= {name or function}
    return uses, makes


def _names(arguments):
    words = _WORD.findall(_SETTINGS.sub("", arguments))
    return {word for word in words if word not in ("-", "+") and not word.isdigit()}, set()


_COMMANDS = {
    "search": _filter,
    "where": lambda arguments: (Expression(arguments).fields, set()),
    "eval": _eval,
    "stats": _aggregated,
    "streamstats": _aggregated,
    "timechart": _aggregated,
    "chart": _aggregated,
    "dedup": _names,
    "table": _names,
    "sort": _names,
    "fillnull": _names,
    "head": lambda _: (set(), set()),
    "convert": lambda arguments: (set(re.findall(r"\((\w+)\)", arguments)), set()),
}
