"""The leak boundary: nothing of the public sample meets the hidden rows."""

from __future__ import annotations

from excise.arena import prepare
from excise.erasers import Leace, NoEdit
from excise.types import ConceptData


def test_public_and_private_share_no_group(pairs: ConceptData) -> None:
    public, private = prepare(pairs, seed=0)
    rows = {tuple(row) for row in private.data.x.tolist()}
    assert not rows & {tuple(row) for row in public.x.tolist()}
    assert len(public.x) + len(private.data) == len(pairs)
    hidden = set(private.data.groups.tolist())
    shown = {int(g) for row, g in zip(pairs.x.tolist(), pairs.groups, strict=True) if tuple(row) not in rows}
    assert not hidden & shown
    assert public.budget > 0


def test_another_seed_is_another_draw(pairs: ConceptData) -> None:
    assert prepare(pairs, seed=0)[0].x.tolist() == prepare(pairs, seed=0)[0].x.tolist()
    assert prepare(pairs, seed=0)[0].x.tolist() != prepare(pairs, seed=1)[0].x.tolist()


def test_score_is_a_grade_on_hidden_rows(pairs: ConceptData) -> None:
    _, private = prepare(pairs, seed=0)
    none, leace = private.score(NoEdit()), private.score(Leace())
    assert len(leace.groups) == len(private.data)
    assert leace.accuracy("Linear").value < none.accuracy("Linear").value
