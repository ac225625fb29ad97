"""Language models: getting them, and reading activations out of them."""

from excise.models.capture import Capture, capture
from excise.models.language_model import DEFAULT_MODEL, LanguageModel, language_model

__all__ = ["DEFAULT_MODEL", "Capture", "LanguageModel", "capture", "language_model"]
