"""Sequences: streams, whole reconstructions, fragments, odd input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.spann3r import SequenceReconstruction
from geometry_encoders.reconstruction.spann3r.fragments import fragment_bounds, join
from tests.geometry_encoders.spann3r_models import frames, small_spann3r

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def test_a_stream_says_what_a_reconstruction_says() -> None:
    model, pictures = small_spann3r(), frames(7)
    whole = model.reconstruct(pictures)
    stream = model.stream()
    for view, picture in enumerate(pictures):
        at_once = stream.push(picture)
        assert at_once.pointmaps.shape == (1, 1, 32, 48, 3)
        if view:
            np.testing.assert_allclose(stream.settled.pointmaps[0, 0], whole.pointmaps[view - 1], **CLOSE)
            np.testing.assert_allclose(stream.settled.confidence[0, 0], whole.confidence[view - 1], **CLOSE)
    np.testing.assert_allclose(at_once.pointmaps[0, 0], whole.pointmaps[-1], **CLOSE)
    assert stream.frames_seen == 7
    assert whole.order == tuple(range(7))


@torch.no_grad()
def test_a_batch_of_views_is_a_stream() -> None:
    """`encode_views` gives the settled result of each view, with the tokens of a stream."""
    model, pictures = small_spann3r(), frames(4)
    output, stream = model.encode_views(pictures.unsqueeze(0)), model.stream()
    for view, picture in enumerate(pictures):
        last = stream.push(picture)
        if view:
            for name in ("pointmaps", "confidence", "patch_tokens", "camera_tokens"):
                torch.testing.assert_close(stream.settled[name][:, 0], output[name][:, view - 1], **CLOSE)
    for name in ("pointmaps", "confidence", "patch_tokens", "camera_tokens"):
        torch.testing.assert_close(last[name][:, 0], output[name][:, 3], **CLOSE)


def test_sequences_side_by_side_do_not_meet() -> None:
    """The second sequence repeats frames, so memories hold different numbers of frames."""
    model = small_spann3r()
    first, second = frames(8), frames(8, seed=2)[[0, 0, 0, 1, 1, 2, 3, 3]]
    together, alone = model.stream(), (model.stream(), model.stream())
    for pair in zip(first, second, strict=True):
        both = together.push(torch.stack(pair))
        for sample in (0, 1):
            own = alone[sample].push(pair[sample])
            torch.testing.assert_close(both.pointmaps[sample], own.pointmaps[0], **CLOSE)


def test_memory_is_bounded_for_ever() -> None:
    model = small_spann3r()
    stream = model.stream(long_mem_tokens=30, work_mem_frames=2, similarity_threshold=1.0)
    tokens = []
    for picture in frames(40):
        stream.push(picture)
        tokens.append(stream.tokens_in_memory)
    assert max(tokens) <= 30 + 3 * 6
    assert stream.frames_in_memory >= 2
    unlimited = model.stream(long_mem_tokens=10**9, similarity_threshold=1.0)
    for picture in frames(40):
        unlimited.push(picture)
    assert unlimited.tokens_in_memory == 39 * 6
    assert unlimited.frames_in_memory == 39


@pytest.mark.parametrize("order", ["online", "offline"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_number_of_frames(order, count) -> None:
    result = small_spann3r().reconstruct(frames(count), order)
    assert result.pointmaps.shape == (count, 32, 48, 3)
    assert result.confidence.shape == (count, 32, 48)
    assert result.pointmaps.dtype == np.float32
    assert sorted(result.order) == list(range(count))
    assert np.isfinite(result.pointmaps).all()
    assert (result.confidence >= 1).all()


def test_offline_order_depends_on_the_pictures_only() -> None:
    model, pictures = small_spann3r(), frames(5)
    result = model.reconstruct(pictures, "offline")
    shuffled = [3, 0, 4, 1, 2]
    again = model.reconstruct(pictures[shuffled], "offline")
    assert tuple(shuffled[view] for view in again.order) == result.order
    for number, view in enumerate(shuffled):
        np.testing.assert_allclose(again.pointmaps[number], result.pointmaps[view], **CLOSE)
    chunked = model.reconstruct(pictures, "offline", chunk_frames=1)
    np.testing.assert_allclose(chunked.pointmaps, result.pointmaps, **CLOSE)


@pytest.mark.parametrize("order", ["online", "offline"])
@pytest.mark.parametrize("kind", ["identical", "black"])
def test_frames_without_news(order, kind) -> None:
    picture = frames(1) if kind == "identical" else torch.full((1, 3, 32, 48), -1.0)
    model = small_spann3r()
    result = model.reconstruct(picture.expand(6, -1, -1, -1), order)
    assert np.isfinite(result.pointmaps).all()
    stream = model.stream(similarity_threshold=0.5)
    for _ in range(6):
        stream.push(picture)
    assert stream.frames_in_memory < 5, "frames that say nothing new are not stored"


def test_portrait_is_its_own_shape() -> None:
    """Portrait frames get their own grid; they are not turned on the way in or out."""
    model, tall = small_spann3r(), frames(3, height=48, width=32)
    result = model.reconstruct(tall)
    assert result.pointmaps.shape == (3, 48, 32, 3)
    wide = model.reconstruct(tall.transpose(-2, -1)).pointmaps.transpose(0, 2, 1, 3)
    assert not np.allclose(result.pointmaps, wide, atol=1e-3), "rows and columns mean different things to the network"
    output = model.encode_views(tall.unsqueeze(0), with_pointmaps=False)
    assert output.grid == (3, 2)
    np.testing.assert_allclose(model.encode_views(tall.unsqueeze(0)).pointmaps[0].detach(), result.pointmaps, **CLOSE)


def test_what_users_have() -> None:
    model = small_spann3r()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    tensor = (torch.from_numpy(pixels).movedim(-1, 1).float() / 255 - 0.5) / 0.5
    expected = model.reconstruct(tensor).pointmaps
    for images in (list(pixels), list(tensor), [{"img": each[None]} for each in tensor]):
        np.testing.assert_allclose(model.reconstruct(images).pointmaps, expected, **CLOSE)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "no images"),
        (torch.zeros(0, 3, 32, 48), "no images"),
        (torch.zeros(2, 3, 30, 48), "30 x 48 pixels, expected both sides to be multiples of 16"),
        (torch.zeros(2, 3, 1, 1), "1 x 1 pixels"),
        (torch.zeros(2, 1, 32, 48), "RGB"),
        (torch.zeros(2, 3, 32, 48, dtype=torch.uint8), "expected floating point numbers"),
        ([torch.zeros(3, 32, 48), torch.zeros(3, 48, 32)], "image 1 has 48 x 32 pixels and image 0 32 x 48"),
        (["photo.jpg"], "image 0 is a str"),
        (torch.full((2, 3, 32, 48), torch.nan), "9216 values that are not finite"),
    ],
)
def test_images_that_cannot_be_used(images, words) -> None:
    with pytest.raises(InputError, match=words):
        small_spann3r().reconstruct(images)


def test_streams_refuse_what_does_not_fit() -> None:
    stream = small_spann3r().stream()
    stream.push(frames(1)[0])
    with pytest.raises(InputError, match="1 frames of 48 x 32 pixels, expected 1 of 32 x 48"):
        stream.push(frames(1, 48, 32)[0])
    with pytest.raises(InputError, match="not finite"):
        stream.push(torch.full((3, 32, 48), torch.inf))
    stream.push(frames(1)[0])
    assert stream.frames_seen == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "sorted"}, "expected 'online' or 'offline'"),
        ({"order": "offline", "restart_every": 5}, "online"),
        ({"restart_every": 4, "overlap": 3}, "fragments of 4 frames that share 3"),
        ({"memory_size": 3}, "'memory_size' does not exist"),
        ({"chunk_frames": 0}, "chunk_frames is 0"),
        ({"dtype": "int8"}, "'int8': expected auto"),
    ],
)
def test_options_that_do_not_exist(options, words) -> None:
    with pytest.raises(InputError, match=words):
        small_spann3r().reconstruct(frames(2), **options)


def test_weights_that_overflow_are_not_silent() -> None:
    model = small_spann3r()
    with torch.no_grad():
        model.dust3r.downstream_head1.proj.bias.fill_(1e4)  # e^10000 metres
    with pytest.raises(InputError, match="frame 0: the network's points are not finite"):
        model.reconstruct(frames(2))


# ---- fragments -------------------------------------------------------------------------------------------------------


def test_fragments_cover_every_frame_and_share() -> None:
    assert fragment_bounds(5, 10, 3) == [(0, 5)]
    assert fragment_bounds(10, 5, 2) == [(0, 5), (3, 8), (6, 10)]
    assert fragment_bounds(11, 5, 2) == [(0, 5), (3, 8), (6, 11)]
    for views in range(1, 40):
        bounds = fragment_bounds(views, 7, 3)
        assert sorted({view for start, stop in bounds for view in range(start, stop)}) == list(range(views))
        assert all(stop - start > 3 for start, stop in bounds[1:])


def test_fragments_are_joined_by_the_similarity_of_shared_frames() -> None:
    """A scene cut in two, the second half turned, scaled, shifted and partly wrong, comes back whole."""
    generator = np.random.default_rng(0)
    scene = generator.normal(size=(8, 6, 5, 3)).astype(np.float32)
    sure = np.full((8, 6, 5), 3.0, dtype=np.float32)
    quarter_turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    part = (2.5 * scene[5:] @ quarter_turn.T + [1, 2, 3]).astype(np.float32)
    part[0, :2] += 5  # a fifth of the shared points moved
    first = SequenceReconstruction(scene[:7], sure[:7], tuple(range(7)))
    whole = join(first, SequenceReconstruction(part, sure[5:] - 1, (0, 1, 2)), start=5)
    np.testing.assert_allclose(whole.pointmaps, scene, atol=1e-4)
    assert whole.order == tuple(range(8))
    (joint,) = whole.joints
    assert (joint.first_frame, joint.shared_frames) == (5, 2)
    assert joint.scale == pytest.approx(1 / 2.5, rel=1e-4)
    assert joint.inlier_share == pytest.approx(1 - 10 / 60, abs=0.02)


def test_the_surer_result_of_a_shared_frame_is_kept() -> None:
    scene = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype(np.float32)
    low, high = (np.full((3, 6, 5), value, dtype=np.float32) for value in (1.5, 4.0))
    first, second = (SequenceReconstruction(scene[k : k + 3], c, (0, 1, 2)) for k, c in ((0, low), (1, high)))
    assert join(first, second, start=1).confidence[:, 0, 0].tolist() == [1.5, 4, 4, 4]


def test_frames_that_cannot_join_are_named() -> None:
    flat = SequenceReconstruction(np.zeros((3, 6, 5, 3), np.float32), np.ones((3, 6, 5), np.float32), (0, 1, 2))
    with pytest.raises(InputError, match="frames 1 to 2 do not join two fragments"):
        join(flat, flat, start=1)


def test_restarts_agree_with_one_pass_where_nothing_is_restarted() -> None:
    model, pictures = small_spann3r(), frames(6)
    whole, cut = model.reconstruct(pictures), model.reconstruct(pictures, restart_every=4, overlap=2)
    np.testing.assert_allclose(cut.pointmaps[:2], whole.pointmaps[:2], **CLOSE)
    assert len(cut.joints) == 1
    assert model.reconstruct(pictures, restart_every=10).joints == ()
