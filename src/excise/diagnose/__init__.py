"""Why is it not gone?"""

from excise.diagnose.curve import LearningCurve, learning_curve
from excise.diagnose.diagnosis import Diagnosis, diagnose
from excise.diagnose.ladder import CAUSES, Ladder, ladder
from excise.diagnose.slack import Slack, slack

__all__ = ["CAUSES", "Diagnosis", "Ladder", "LearningCurve", "Slack", "diagnose", "ladder", "learning_curve", "slack"]
