"""Why is it not gone?"""

from excise.diagnose.slack import Slack, slack

__all__ = ["Slack", "slack"]
