"""The words of Excise as types. Everything else imports from here; this imports nothing of Excise."""

from excise.types.concept import Card, Concept
from excise.types.data import ConceptData
from excise.types.eraser import Encoder, Eraser, Guarantee, Oracle
from excise.types.errors import ExciseError
from excise.types.files import write_atomically
from excise.types.inputs import check_activations, check_finite
from excise.types.labels import Labels
from excise.types.maps import EncodingMap, ErasureMap, FittedMap, OracleMap
from excise.types.probe import FittedProbe, Probe, TrainingRows
from excise.types.site import Pooling, Site

__all__ = [
    "Card",
    "Concept",
    "ConceptData",
    "Encoder",
    "EncodingMap",
    "Eraser",
    "ErasureMap",
    "ExciseError",
    "FittedMap",
    "FittedProbe",
    "Guarantee",
    "Labels",
    "Oracle",
    "OracleMap",
    "Pooling",
    "Probe",
    "Site",
    "TrainingRows",
    "check_activations",
    "check_finite",
    "write_atomically",
]
