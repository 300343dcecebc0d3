"""NTXent, its gradients and the IoU matrix against the released program."""

from __future__ import annotations

import pytest
import torch

from geometry_encoders.retrieval.contrastive import IOU_SCALE, IOU_SHIFT, iou_matrix, nt_xent
from tests.golden.conftest import golden_root
from tests.golden.retrieval_files import FOLDER, retrieval_golden

CASES = sorted(retrieval_golden().json("ntxent")["cases"]) if (golden_root() / FOLDER).is_dir() else ["absent"]


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients(case: str) -> None:
    golden = retrieval_golden()
    settings, tensors = golden.json("ntxent")["cases"][case], golden.tensors("ntxent")
    assert (settings["sig_scale"], settings["sig_shift"]) == (IOU_SCALE, IOU_SHIFT)
    inputs = tensors[f"{case}/zi"].clone().requires_grad_()
    targets = tensors[f"{case}/zj"].clone().requires_grad_()
    iou = tensors[f"{case}/iou"] if settings["iou_scaling"] else None
    loss = nt_xent(inputs, targets, settings["temperature"], iou, settings["cosine"])
    loss.backward()
    golden.assert_close(loss.detach()[None], tensors[f"{case}/loss"], "loss")
    assert inputs.grad is not None
    assert targets.grad is not None
    golden.assert_close(inputs.grad, tensors[f"{case}/grad_zi"], "gradient of the input embeddings")
    golden.assert_close(targets.grad, tensors[f"{case}/grad_zj"], "gradient of the target embeddings")


def test_iou_matrix() -> None:
    golden = retrieval_golden()
    tensors = golden.tensors("ntxent")
    found = iou_matrix(tensors["iou_matrix/shapes"].bool())
    golden.assert_close(found, tensors["iou_matrix/iou"], "IoU")
    empty = ~tensors["iou_matrix/shapes"].bool().flatten(1).any(1)
    assert torch.all(found[empty] == 0), "an empty shape overlaps nothing, itself included"
