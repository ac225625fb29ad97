"""Labelled texts: the built-in concepts, files, and Hugging Face datasets."""

from excise.concepts.builtin import builtin_concepts, load_concept
from excise.concepts.huggingface import from_dataset
from excise.concepts.reader import read_jsonl

__all__ = ["builtin_concepts", "from_dataset", "load_concept", "read_jsonl"]
