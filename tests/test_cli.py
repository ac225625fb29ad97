"""The command line, as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from excise.cli import main
from tests.conftest import gaussian_classes


def excise(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from excise.cli import main; main()", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100", **(env or {})}
    )


def ok(*args: object, env: dict[str, str] | None = None) -> str:
    done = excise(*args, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Activations that differ in mean and covariance, with labels and pairs, in several formats; train and test."""
    x, z = (a.numpy() for a in gaussian_classes(480, 16))
    for part, rows in (("train", slice(0, 240)), ("test", slice(240, 480))):
        np.save(tmp_path / f"{part}.npy", x[rows].astype(np.float32))
        np.save(tmp_path / f"{part}_z.npy", z[rows])
        np.save(tmp_path / f"{part}_g.npy", np.arange(240) // 2)
        np.savetxt(tmp_path / f"{part}.csv", x[rows], delimiter=",", header="a,b", comments="")
        (tmp_path / f"{part}_z.csv").write_text("label\n" + "\n".join("yes" if v else "no" for v in z[rows]))
        save_file(
            {"x": x[rows].astype(np.float16), "z": z[rows], "group": np.arange(240) // 2},
            tmp_path / f"{part}.safetensors",
        )
    return tmp_path


@pytest.mark.parametrize(
    "command",
    ["", "bench", "capture", "fit", "apply", "audit", "diagnose", "concepts", "leaderboard", "report", "arena"],
)
def test_help(command: str) -> None:
    out = ok(*command.split(), "--help")
    assert "Usage" in out
    assert len(out.splitlines()) > 8


def test_fit_apply_audit(arrays: Path) -> None:
    """The first user's path, with files only: fit on one half, erase the other, ask whether it is gone."""
    ok("fit", arrays / "train.npy", "--labels", arrays / "train_z.npy", "--out", arrays / "leace.safetensors")
    ok("apply", arrays / "leace.safetensors", arrays / "test.npy", "--out", arrays / "erased.npy")
    erased = np.load(arrays / "erased.npy")
    assert erased.shape == (240, 16)
    assert erased.dtype == np.float32
    common = [
        "audit",
        arrays / "test.npy",
        "--labels",
        arrays / "test_z.npy",
        "--groups",
        arrays / "test_g.npy",
        "--json",
    ]
    before = json.loads(ok(*common))
    assert before["verdict"].startswith("It is there")
    after = json.loads(ok(*common, "--erased", arrays / "erased.npy"))
    assert after["chance"] == 0.5
    assert after["erased"]["Linear"]["low"] < 0.6
    assert after["erased"]["RbfSvm"]["value"] > 0.7
    assert after["verdict"].startswith("It is not gone: ")
    assert 0.5 < after["budget"] < 2
    mapped = json.loads(ok(*common, "--map", arrays / "leace.safetensors"))
    assert mapped["erased"] == after["erased"]
    np.save(arrays / "constant.npy", np.ones((240, 16)))
    gone = json.loads(ok(*common, "--erased", arrays / "constant.npy"))
    assert gone["verdict"].startswith("This panel no longer reads it")
    table = ok(*common[:-1], "--erased", arrays / "erased.npy")
    assert "strongest" in table
    assert "It is not gone" in table


def test_diagnose(arrays: Path) -> None:
    page = arrays / "page.html"
    z, pairs = arrays / "test_z.npy", arrays / "test_g.npy"
    out = ok("diagnose", arrays / "test.npy", "--labels", z, "--groups", pairs, "--out", page, "--json")
    (found,) = json.loads(out)
    assert found["ladder"]["chance"] == 0.5
    assert found["main_cause"] == "covariances", "what the classes of this data differ in, beside their means"
    assert "covariances" in found["verdict"]
    assert found["verdict"].split(";")[0] in page.read_text()


def test_every_format_gives_the_same_map(arrays: Path) -> None:
    outs = []
    for x, labels in ((".npy", "train_z.npy"), (".csv", "train_z.csv"), (".safetensors", None)):
        out = arrays / f"map{x[1:]}.safetensors"
        ok("fit", arrays / f"train{x}", "--out", out, *(["--labels", arrays / labels] if labels else []))
        outs.append(load_file(out))
    for other, tolerance in zip(outs[1:], (1e-5, 0.02), strict=True):
        assert all(np.allclose(abs(other[k]), abs(outs[0][k]), atol=tolerance) for k in other)
    for suffix in (".npy", ".csv", ".safetensors"):
        ok("apply", arrays / "mapnpy.safetensors", arrays / "test.npy", "--out", arrays / f"out{suffix}")
    assert np.allclose(np.loadtxt(arrays / "out.csv", delimiter=","), np.load(arrays / "out.npy"), rtol=1e-6)


def _bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    x, z = np.load(folder / "train.npy"), np.load(folder / "train_z.npy")
    nan = x.copy()
    nan[7, 3] = np.nan
    files = {
        "nan": nan,
        "empty": x[:0],
        "three_axes": x[None],
        "integers": x.astype(int),
        "one_class": z * 0,
        "short_z": z[:-3],
        "narrow": x[:, :9],
        "rare": (np.arange(240) < 3).astype(int),
        "continuous": x[:, 0],
    }
    for name, values in files.items():
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "truncated.npy").write_bytes((folder / "train.npy").read_bytes()[:500])
    (folder / "foreign.npy").write_text("hello")
    (folder / "truncated.safetensors").write_bytes((folder / "train.safetensors").read_bytes()[:-9])
    (folder / "hole.csv").write_text("1,\n3,4\n")
    save_file({"z": np.eye(2)[z]}, folder / "onehot.safetensors")
    (folder / "words.csv").write_text("1,2\n3,x\n")
    (folder / "ragged.csv").write_text("1,2\n3\n")
    ok("fit", folder / "train.safetensors", "--out", folder / "map.safetensors")
    at, zs, out = folder.joinpath, ["--labels", folder / "train_z.npy"], ["--out", folder / "new.safetensors"]
    return {
        "fit: NaN": (["fit", at("nan.npy"), *zs, *out], "row 7"),
        "fit: one class": (["fit", at("train.npy"), "--labels", at("one_class.npy"), *out], "at least 2 classes"),
        "fit: empty": (["fit", at("empty.npy"), *zs, *out], "empty"),
        "fit: axes": (["fit", at("three_axes.npy"), *zs, *out], "shape"),
        "fit: integers": (["fit", at("integers.npy"), *zs, *out], "floating point"),
        "fit: lengths": (["fit", at("train.npy"), "--labels", at("short_z.npy"), *out], "237 labels"),
        "fit: missing": (["fit", at("nowhere.npy"), *zs, *out], "nowhere.npy"),
        "fit: objects": (["fit", at("objects.npy"), *zs, *out], "objects"),
        "fit: truncated": (["fit", at("truncated.npy"), *zs, *out], "truncated"),
        "fit: foreign": (["fit", at("foreign.npy"), *zs, *out], "not a readable .npy"),
        "fit: truncated safetensors": (["fit", at("truncated.safetensors"), *out], "truncated"),
        "fit: one-hot labels": (
            ["fit", at("train.npy"), "--labels", at("onehot.safetensors"), *out],
            "one value a row",
        ),
        "fit: brackets in a name": (["fit", at("no[/x].npy"), *zs, *out], r"no\[/x\]\.npy"),
        "fit: below a file": (["fit", at("train.npy"), *zs, "--out", at("train.npy") / "map.safetensors"], "train.npy"),
        "fit: shape in words": (["fit", at("train_z.npy"), *zs, *out], r"\[rows, dimensions\]"),
        "fit: empty cell": (["fit", at("hole.csv"), *zs, *out], "hole.csv:1"),
        "bench: tokens": (["bench", "--concepts", "passive", "--site", "14:all", "--out", at("results")], "mean"),
        "bench: jobs": (["bench", "--concepts", "passive", "--jobs", "0", "--out", at("results")], "--jobs 0"),
        "bench: budgets": (["bench", "--budgets", ".5,much", "--out", at("results")], "'much'.*above 0"),
        "bench: no budget": (["bench", "--budgets", "1,-2", "--out", at("results")], "'-2'.*above 0"),
        "bench: twice": (["bench", "--concepts", "passive,passive", "--out", at("results")], "two concepts"),
        "fit: words": (["fit", at("words.csv"), *zs, *out], "words.csv:2"),
        "fit: ragged": (["fit", at("ragged.csv"), *zs, *out], "ragged.csv:2"),
        "fit: no labels": (["fit", at("train.npy"), *out], "--labels"),
        "fit: eraser": (["fit", at("train.npy"), *zs, *out, "--eraser", "Leece"], "there are: .*Leace"),
        "fit: rare class": (
            ["fit", at("train.npy"), "--labels", at("rare.npy"), *out, "--eraser", "GaussianTransport"],
            "class 1 has 3 rows",
        ),
        "fit: continuous": (
            ["fit", at("train.npy"), "--labels", at("continuous.npy"), *out],
            "row 0 has label .*bin it",
        ),
        "fit: name": (["fit", at("train.npy"), *zs, "--out", at("map.pt")], "must end in .safetensors"),
        "apply: NaN": (["apply", at("map.safetensors"), at("nan.npy"), *out], "row 7"),
        "apply: width": (["apply", at("map.safetensors"), at("narrow.npy"), *out], "16 dimensions"),
        "apply: no map": (["apply", at("train.safetensors"), at("train.npy"), *out], "not an erasure map"),
        "apply: truncated": (["apply", at("truncated.safetensors"), at("train.npy"), *out], "truncated"),
        "apply: name": (["apply", at("map.safetensors"), at("train.npy"), "--out", at("new.pt")], "must end in"),
        "audit: NaN": (["audit", at("nan.npy"), *zs], "row 7"),
        "audit: rare class": (["audit", at("train.npy"), "--labels", at("rare.npy")], "class 1 has 3 rows"),
        "audit: other rows": (["audit", at("train.npy"), *zs, "--erased", at("empty.npy")], "empty"),
        "audit: panel": (["audit", at("train.npy"), *zs, "--panel", "Liner"], "no probe 'Liner'"),
        "diagnose: eraser": (["diagnose", at("train.npy"), *zs, "--eraser", "Lease"], "no eraser 'Lease'"),
        "diagnose: page": (["diagnose", at("train.npy"), *zs, "--out", at("x.npy")], "must end in .html"),
        "diagnose: two files": (["diagnose", at("train.npy"), at("test.npy"), *zs], "go with one file"),
        "audit: both": (["audit", at("train.npy"), *zs, "--erased", at("x.npy"), "--map", at("m")], "either"),
        "capture: nothing": (["capture", *out], "either with --concept or"),
        "capture: no file": (["capture", "--concept", at("none.jsonl"), *out], "none.jsonl"),
        "capture: no site": (["capture", "--concept", "passive", "--site", "14:middle", *out], "unknown pooling"),
        "bench: concept": (["bench", "--concepts", "irony", "--out", at("results")], "no built-in concept"),
        "bench: eraser": (["bench", "--erasers", "Leece", "--out", at("results")], "there are: "),
        "report: nothing": (["report", "--out", at("results")], "excise bench"),
        "leaderboard: nothing": (["leaderboard", "--out", at("results")], "excise bench"),
    }


def test_bad_input_is_one_line_with_code_2_and_nothing_written(
    arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the entry point itself, in this process: a new one for each of so many cases would take minutes."""
    cases = _bad_inputs(arrays)
    before = {path.name for path in arrays.iterdir()}
    for name, (args, words) in cases.items():
        monkeypatch.setattr(sys, "argv", ["excise", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
        error = capsys.readouterr().err
        assert stop.value.code == 2, f"{name}: {stop.value.code} {error}"
        assert error.startswith("error: "), f"{name}: {error}"
        assert "Traceback" not in error
        assert re.search(words, error, re.DOTALL), f"{name}: {error}"
        assert {path.name for path in arrays.iterdir()} == before, name


def test_capture_and_bench_on_a_local_model(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """The whole path, model to report, on a tiny model and a concept of the user's own."""
    rng = np.random.default_rng(0)
    words = np.array("dog sat on mat road and then was old new house".split())  # noqa: SIM905
    rows = []
    for pair in range(60):
        rest = " ".join(rng.choice(words, size=5))
        rows += [{"text": f"the cat {rest} under red tree", "label": 1, "group": pair}]
        rows += [{"text": f"the {rest} very house it ran", "label": 0, "group": pair}]
    texts = tmp_path / "mine.jsonl"
    texts.write_text("\n".join(map(json.dumps, rows)))
    env = {"EXCISE_CACHE": str(tmp_path / "cache")}
    where = ["--model", tiny_models["gpt2"], "--site", "h.2"]
    ok("capture", "--concept", texts, *where, "--out", tmp_path / "acts.safetensors", env=env)
    with safe_open(tmp_path / "acts.safetensors", "np") as file:
        assert file.get_tensor("x").shape == (120, 16)
        assert json.loads(file.metadata()["excise"])["site"] == "h.2:mean"
    assert json.loads(ok("audit", tmp_path / "acts.safetensors", "--json"))["n"] == 120

    bench = ["bench", "--concepts", texts, *where, "--out", tmp_path / "results", "--budgets", ".5"]
    board = json.loads(ok(*bench, "--json", env=env))
    rows_by_name = {row["eraser"]: row for row in board["rows"]}
    assert set(rows_by_name) >= {
        "NoEdit",
        "Constant",
        "RandomDirection",
        "Leace",
        "MeanProjection",
        "GaussianTransport",
    }
    assert rows_by_name["NoEdit"]["worst"]["value"] > 0.85
    assert rows_by_name["Leace"]["worst"]["value"] < rows_by_name["NoEdit"]["worst"]["value"]
    assert not any("@" in name for name in rows_by_name)
    curves = {curve["eraser"]: curve for curve in board["frontiers"]}
    assert set(curves) == set(rows_by_name)
    assert [point["asked"] for point in curves["Leace"]["points"]] == [0.5]
    assert curves["NoEdit"]["points"] == []
    # At half of the edit all may still be readable: no more than that is certain on so few rows.
    assert 0 <= curves["Leace"]["area"]["value"] < curves["NoEdit"]["area"]["value"] + 0.05
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "records").iterdir()}
    (tmp_path / "results" / "report.html").unlink()
    printed = ok(*bench, env=env)
    board_text, frontier_text = printed.split("The strongest probe at each budget")
    assert "vs LEACE" in board_text
    assert "vs LEACE" in frontier_text
    assert {path: path.stat().st_mtime_ns for path in records} == records, "a second run grades nothing"
    assert json.loads(ok("leaderboard", "--out", tmp_path / "results", "--json"))
    (tmp_path / "results" / "report.html").unlink()
    ok("report", "--out", tmp_path / "results")
    assert (tmp_path / "results" / "report.html").stat().st_size > 1_000_000


def test_a_damaged_concept_file_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a b", "label": 1}\n{"text": "c d", "lab')
    done = excise("capture", "--concept", tmp_path / "bad.jsonl", "--out", tmp_path / "x.safetensors")
    assert done.returncode == 2
    assert "bad.jsonl:2" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]


def test_concepts() -> None:
    assert "sarcasm" in json.loads(ok("concepts", "--json"))
    card = json.loads(ok("concepts", "show", "sarcasm", "--json"))
    assert card["card"]["definition"]
    assert {example["label"] for example in card["examples"]} == {0, 1}
    assert "does not count" in ok("concepts", "show", "sarcasm")


def test_fit_beside_a_background(arrays: Path) -> None:
    x, z = np.load(arrays / "train.npy"), np.load(arrays / "train_z.npy")
    x = x - np.stack([x[z == 0].mean(axis=0), x[z == 1].mean(axis=0)])[z]
    pairs = np.random.default_rng(0).integers(len(x), size=(2, 500))
    np.save(arrays / "others.npy", ((x[pairs[0]] - x[pairs[1]]) / 2**0.5).astype(np.float32))
    rows = (arrays / "train.npy", "--labels", arrays / "train_z.npy", "--background", arrays / "others.npy")
    plain, beside = arrays / "plain.safetensors", arrays / "beside.safetensors"
    ok("fit", *rows[:3], "--eraser", "BudgetedTransport", "--budget", "0.5", "--out", plain)
    ok("fit", *rows, "--eraser", "BudgetedTransport", "--budget", "0.5", "--out", beside)
    assert not np.array_equal(load_file(plain)["inputs"], load_file(beside)["inputs"])
    np.save(arrays / "holes.npy", np.full((5, 16), np.nan))
    holes = excise("fit", *rows[:4], arrays / "holes.npy", "--eraser", "BudgetedTransport", "--out", plain)
    assert "background has NaN" in holes.stderr
    refused = excise("fit", *rows, "--out", arrays / "leace.safetensors")
    assert refused.returncode != 0
    assert "Leace cannot learn from a background" in refused.stderr
    assert not (arrays / "leace.safetensors").exists()
