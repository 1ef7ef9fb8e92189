"""What changes without a commit: FQDNs resolved, external lists fetched, each when it is due, last good kept."""

from bridge.feeds.fetch import FeedLimits, Fetcher
from bridge.feeds.keeper import Feeds

__all__ = ["FeedLimits", "Feeds", "Fetcher"]
