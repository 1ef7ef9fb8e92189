"""What the lab's tests have in common: a rule that cuts, and a look at what is reached."""

from mocks.lab import connect

CUT = """
table inet cut {
    chain forward { type filter hook forward priority -5; ip saddr %s ip daddr %s %s; }
}
"""


def reach(source, target, port=80, timeout=5.0, **options):
    """Both stacks, as a set. A neighbour that isn't known yet may cost a first packet, which comes again after a second."""
    return {connect(source, ip, port, timeout, **options) for ip in (target.ip, target.ip6)}
