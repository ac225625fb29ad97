"""Grading: the one pure function behind benchmark, audit and arena, and sweeps of it."""

from excise.bench.grade import Grade, grade

__all__ = ["Grade", "grade"]
