"""Writes a trained model as the small float16 checkpoint that the repository keeps.

Run: ``python -m spatialvlm.training.package_checkpoint outputs/tiny spatialvlm/checkpoints/tiny``
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from geometry_encoders.errors import InputError
from spatialvlm.loading import load_model

MAX_BYTES = 20_000_000  # what a git repository may carry


def package(source: Path, out: Path) -> int:
    """Saves model and processor of ``source`` to ``out`` in float16 and returns the bytes of the weights.

    Raises:
        InputError: when the weights would be larger than ``MAX_BYTES``; ``out`` is left as it was.
    """
    model, processor = load_model(str(source), dtype=torch.float32, device="cpu")
    size = 2 * sum(tensor.numel() for tensor in {t.data_ptr(): t for t in model.state_dict().values()}.values())
    if size > MAX_BYTES:
        raise InputError(f"{source}: {size:,} bytes of float16 weights, expected at most {MAX_BYTES:,}")
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    processor.save_pretrained(out)
    if (source / "tokenizer.model").exists():  # what the fast tokenizer was made from
        shutil.copyfile(source / "tokenizer.model", out / "tokenizer.model")
    return size


def main() -> None:
    """The command line: SOURCE and OUT."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m spatialvlm.training.package_checkpoint SOURCE OUT")
    try:
        print(f"{sys.argv[2]}: {package(Path(sys.argv[1]), Path(sys.argv[2])):,} bytes of weights")
    except InputError as error:
        sys.exit(f"package_checkpoint: {error}")


if __name__ == "__main__":
    main()
