"""The verb ``spatialvlm pack``: few large files with the pictures inside, for training from object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pack(
    dataset: Annotated[Path, typer.Argument(help="Folder that `spatialvlm generate` wrote.")],
    out: Annotated[Path, typer.Option(help="Another folder, for the packed set.")],
    shard_size: Annotated[str, typer.Option(help="Bytes of pictures per file, such as 500MB.")] = "500MB",
    format: Annotated[str, typer.Option(help="parquet (a row per question) or webdataset (a sample per view set).")] = (
        "parquet"
    ),
    mix: Annotated[int, typer.Option(min=1, help="Scenes whose view sets are shuffled with each other.")] = 32,
    seed: Annotated[int, typer.Option(help="Of that shuffle.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Drop a packed set of other settings that is there.")] = False,
) -> None:
    """Packs questions and pictures together, ready to be streamed. A second run makes what is missing.

    Example: spatialvlm pack dataset --out packed --shard-size 500MB
    """
    from qa_generation.pack import PackConfig, pack_dataset, parse_bytes

    config = PackConfig(parse_bytes(shard_size), format, mix, seed)
    report = pack_dataset(dataset, out, config=config, overwrite=overwrite, progress=True)
    made = ", ".join(f"{split}: {report.records[split]} questions in {n} files" for split, n in report.files.items())
    kept = f" ({report.kept} files were there already)" if report.kept else ""
    print(f"{out}: {made}{kept}, {report.size / 1e6:.0f} MB")
