"""What the makers of each source dataset allow, for the card of a set made from it. Facts, not legal advice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceNotice:
    """One source of captures.

    Attributes:
        title: what its makers call it.
        access: how a person gets it.
        terms: what they may do with it.
        images_may_be_shared: whether copies of its pictures may be passed on with a set of questions.
    """

    title: str
    access: str
    terms: str
    images_may_be_shared: bool = False


SOURCES: dict[str, SourceNotice] = {
    "synthetic": SourceNotice(
        "rooms made by `spatialvlm synth`",
        "made on your machine",
        "yours to license; meshes given with `--assets` keep the terms they came with",
        True,
    ),
    "scannet": SourceNotice(
        "ScanNet v2", "signed form, then a download script", "ScanNet Terms of Use; no redistribution of the data"
    ),
    "scannetpp": SourceNotice(
        "ScanNet++ v2", "form and personal token", "non-commercial research only; no redistribution of the data"
    ),
    "waymo": SourceNotice(
        "Waymo Open Dataset v2",
        "registration",
        "Waymo Dataset License: non-commercial use only; no redistribution of the data",
    ),
    "arkitscenes": SourceNotice(
        "ARKitScenes",
        "public download",
        "Apple's licence: non-commercial use; redistribution only together with its notice",
    ),
    "mvimgnet": SourceNotice(
        "MVImgNet 1 and 2.0",
        "form, then link and password",
        "Terms of Use of the form; nothing of the data may be shipped",
    ),
}


def notice_of(dataset: str) -> SourceNotice:
    """The notice of the source whose name ``dataset`` begins with; a cautious one for sources we do not know."""
    matching = [name for name in SOURCES if dataset.startswith(name)]
    if matching:
        return SOURCES[max(matching, key=len)]
    return SourceNotice(dataset, "unknown to us", "ask its makers before passing anything on")
