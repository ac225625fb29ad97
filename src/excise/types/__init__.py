"""The words of Excise as types. Everything else imports from here; this imports nothing of Excise."""

from excise.types.concept import Card, Concept
from excise.types.data import ConceptData
from excise.types.eraser import Eraser, ErasureMap, Guarantee
from excise.types.errors import ExciseError
from excise.types.files import write_atomically
from excise.types.inputs import check_activations, check_classes, check_finite, check_labels
from excise.types.probe import FittedProbe, Probe
from excise.types.site import Pooling, Site

__all__ = [
    "Card",
    "Concept",
    "ConceptData",
    "Eraser",
    "ErasureMap",
    "ExciseError",
    "FittedProbe",
    "Guarantee",
    "Pooling",
    "Probe",
    "Site",
    "check_activations",
    "check_classes",
    "check_finite",
    "check_labels",
    "write_atomically",
]
