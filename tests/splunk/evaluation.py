"""As much of Splunk's eval language as the app uses: what an expression reads, and its value for an event."""

import re
from datetime import UTC, datetime

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<quoted>'[^']*')|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<name>[A-Za-z_][\w{}]*)|(?P<operator>==|!=|>=|<=|[=<>.+\-*/(),]))"""
)
_TIME = "%Y-%m-%dT%H:%M:%S.%6NZ"


class Expression:
    """Parsed once; `fields` are those that it reads."""

    def __init__(self, text):
        self.fields = set()
        self._tokens = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"{text!r}: not understood from {text[at:]!r} on")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._at = 0
        self._root = self._either()
        if self._at != len(self._tokens):
            raise ValueError(f"{text!r}: more than one expression")

    def value(self, event):
        return self._root(event)

    def _peek(self):
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _next(self):
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, wanted):
        if self._peek() != wanted:
            raise ValueError(f"{wanted} expected, not {self._peek()}")
        self._at += 1

    def _either(self):
        parts = [self._both()]
        while self._peek() == "OR":
            self._at += 1
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda event: any(part(event) for part in parts)

    def _both(self):
        parts = [self._comparison()]
        while self._peek() == "AND":
            self._at += 1
            parts.append(self._comparison())
        return parts[0] if len(parts) == 1 else lambda event: all(part(event) for part in parts)

    def _comparison(self):
        left = self._sum()
        if self._peek() not in COMPARISONS:
            return left
        compare, right = COMPARISONS[self._next()[1]], self._sum()

        def compared(event):
            sides = left(event), right(event)
            return None not in sides and compare(*_alike(*sides))

        return compared

    def _sum(self):
        left = self._factor()
        while self._peek() in (".", "+", "-", "*", "/"):
            left = _combined(left, self._next()[1], self._factor())
        return left

    def _factor(self):
        kind, token = self._next()
        if token == "(":
            inner = self._either()
            self._take(")")
            return inner
        if kind == "text":
            return lambda _: token[1:-1]
        if kind == "number":
            return lambda _: float(token) if "." in token else int(token)
        if kind == "name" and self._peek() == "(":
            return self._call(token)
        if kind not in ("name", "quoted"):
            raise ValueError(f"{token} where a value was expected")
        name = token.strip("'")
        self.fields.add(name)
        return lambda event: event.get(name)

    def _call(self, name):
        function, arguments = FUNCTIONS[name], []
        self._take("(")
        while self._peek() != ")":
            arguments.append(self._either())
            if self._peek() != ")":
                self._take(",")
        self._take(")")
        return lambda event: function(*(argument(event) for argument in arguments))


def _combined(left, operator, right):
    def value(event):
        sides = left(event), right(event)
        if None in sides:
            return None
        return OPERATORS[operator](*sides)

    return value


def _alike(left, right):
    """Numbers where both are, else text."""
    try:
        return float(left), float(right)
    except ValueError:
        return str(left), str(right)


def _time(text, layout):
    if layout != _TIME:
        raise ValueError(f"{layout} is not how our records write a time")
    return None if text is None else datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


def _case(*arguments):
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return next((value for condition, value in pairs if condition), None)


COMPARISONS = {
    "==": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}
OPERATORS = {
    ".": lambda a, b: f"{a}{b}",
    "+": lambda a, b: float(a) + float(b),
    "-": lambda a, b: float(a) - float(b),
    "*": lambda a, b: float(a) * float(b),
    "/": lambda a, b: float(a) / float(b),
}
FUNCTIONS = {
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "if": lambda condition, yes, no: yes if condition else no,
    "case": _case,
    "isnull": lambda value: value is None,
    "isnotnull": lambda value: value is not None,
    "true": lambda: True,
    "null": lambda: None,
    "mvindex": lambda value, at: value[at] if isinstance(value, list) else value,
    "match": lambda value, pattern: value is not None and re.search(pattern, str(value)) is not None,
    "replace": lambda value, pattern, by: None if value is None else re.sub(pattern, by, value),
    "round": lambda value, digits: None if value is None else round(value, digits),
    "strptime": _time,
    "now": lambda: 0.0,
    "relative_time": lambda at, _: at,
}
