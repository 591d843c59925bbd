import shutil
import struct
import zlib

import keras
import numpy as np
import pytest
from PIL import Image

from gan_utils import data

SHIPPED = data.shipped_file("mnist.npz").parent
DIGITS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the shipped data that a test may damage; the only place where the package looks."""
    for name in ("mnist.npz", "manifest.json"):
        shutil.copy(SHIPPED / name, tmp_path)
    monkeypatch.setattr(data, "_FOLDERS", (tmp_path,))
    return tmp_path


def epochs(dataset, count):
    return [[batch.numpy() for batch in dataset] for _ in range(count)]


@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_has_its_digits_in_the_range_of_tanh(split):
    images, labels = data.load_mnist(split)
    assert images.shape == (sum(DIGITS[split]), 28, 28, 1)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (-1.0, 1.0)
    assert np.median(images) == -1.0  # the paper, not the ink
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == DIGITS[split]


def test_the_training_digits_are_the_default():
    assert len(data.load_mnist()[0]) == 60_000


def test_no_test_digit_is_a_training_digit():
    train, test = ({image.tobytes() for image in data.load_mnist(split)[0]} for split in ("train", "test"))
    assert not train & test


@pytest.mark.parametrize("split", ["valid", "Train", "", None])
def test_a_split_that_does_not_exist_is_refused(split):
    with pytest.raises(ValueError, match=f"split={split!r}, expected 'train' or 'test'"):
        data.load_mnist(split)


def test_clothes_come_as_digits_do(monkeypatch):
    pixels, labels = np.arange(2 * 28 * 28).astype(np.uint8).reshape(2, 28, 28), np.array([9, 0], np.uint8)
    load = lambda: ((pixels, labels), (pixels[:1], labels[:1]))  # noqa: E731
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load)
    images, kinds = data.load_fashion_mnist()
    assert (images.shape, images.dtype, kinds.dtype) == ((2, 28, 28, 1), np.float32, np.int64)
    np.testing.assert_array_equal(data.to_bytes(images)[..., 0], pixels)
    assert kinds.tolist() == [9, 0]
    assert len(data.load_fashion_mnist("test")[0]) == 1


def test_clothes_that_cannot_be_downloaded_are_missed_with_advice(monkeypatch):
    def offline():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", offline)
    with pytest.raises(OSError, match=r"Fashion-MNIST cannot be had.*copy them there"):
        data.load_fashion_mnist()


def test_a_missing_file_is_named_with_the_way_to_mend_it(folder):
    (folder / "mnist.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist\.npz is missing.*git checkout"):
        data.load_mnist()


def test_a_missing_manifest_is_named(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        data.load_mnist()


@pytest.mark.parametrize("damage", ["one bit", "cut short", "empty"])
def test_a_damaged_file_is_not_read(folder, damage):
    path = folder / "mnist.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"one bit": content, "cut short": content[:1000], "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"mnist\.npz is damaged.*expected 06af5d.*git checkout"):
        data.load_mnist()


def test_the_second_folder_is_read_where_the_first_lacks_the_file(folder, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(data, "_FOLDERS", (tmp_path_factory.mktemp("nothing"), folder))
    assert data.shipped_file("mnist.npz") == folder / "mnist.npz"


def test_results_are_read_by_their_name(folder):
    (folder / "results").mkdir()
    (folder / "results" / "study.json").write_text('{"runs": [1, 2]}', encoding="utf-8")
    assert data.load_results("study") == {"runs": [1, 2]}
    with pytest.raises(FileNotFoundError, match=r"results/other\.json is missing"):
        data.load_results("other")


def test_bytes_go_to_signed_and_back_exactly():
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1)
    images = data.to_signed(pixels)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images.ravel(), np.linspace(-1, 1, 256), atol=1e-6)
    assert data.to_bytes(images).dtype == np.uint8
    np.testing.assert_array_equal(data.to_bytes(images), pixels)


def test_bytes_are_rounded_to_the_nearest():
    # 0.0 → 127.5 → 128 (to even); ±0.004 is half a level, 0.51 of one: 126.99 → 127, 128.01 → 128
    assert data.to_bytes(np.array([-0.004, 0.0, 0.004, -0.9999, 0.9999])).tolist() == [127, 128, 128, 0, 255]


@pytest.mark.parametrize("pixels", [np.zeros(3), np.zeros(3, np.int64), [0, 255]])
def test_only_bytes_become_signed(pixels):
    with pytest.raises(ValueError, match=r"Got pixels of type (float|int)64, expected uint8"):
        data.to_signed(pixels)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([0.0, np.nan, np.nan], "Got 2 NaN among 3 values"),
        ([0.0, 1.01], r"Got values from 0 to 1\.01, expected \[-1, 1\]"),
        ([-1.01, 0.0], r"Got values from -1\.01 to 0, expected \[-1, 1\]"),
        ([0.0, np.inf], r"Got values from 0 to inf, expected \[-1, 1\]"),
        ([0, 255], r"Got values from 0 to 255, expected \[-1, 1\].*to_signed"),
        ([], r"Got no images: an array of shape \(0,\)"),
    ],
)
def test_images_that_are_none_are_refused(images, message):
    for function in (data.check_images, data.to_bytes):
        with pytest.raises(ValueError, match=message):
            function(np.array(images))


def test_batches_hold_every_sample_once_an_epoch():
    samples = np.arange(10.0)[:, np.newaxis] * [1.0, -1.0]
    for batches in epochs(data.batches(samples, batch_size=4), 3):
        assert [len(batch) for batch in batches] == [4, 4, 2]
        found = np.concatenate(batches)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[np.argsort(found[:, 0])], samples)


def test_batches_come_in_a_new_order_each_epoch_and_the_same_seed_repeats_them():
    def orders(seed):
        return [np.concatenate(epoch).ravel().tolist() for epoch in epochs(data.batches(samples, 8, seed=seed), 3)]

    samples = np.arange(32.0)[:, np.newaxis]
    first, second, third = orders(0)
    assert first != second != third != first
    assert samples.ravel().tolist() not in (first, second, third)
    assert orders(0) == [first, second, third]
    assert orders(1)[0] != first


def test_batches_of_images_keep_each_image_whole():
    images = np.linspace(-1, 1, 6 * 8).reshape(6, 2, 2, 2)
    (batch,) = data.batches(images, batch_size=100)
    assert batch.shape == (6, 2, 2, 2)
    order = np.argsort(batch.numpy()[:, 0, 0, 0])
    np.testing.assert_allclose(batch.numpy()[order], images, atol=1e-7)


def test_vectors_may_have_any_range():
    (batch,) = data.batches(np.full((2, 1), 1000.0), batch_size=2)
    assert batch.numpy().ravel().tolist() == [1000.0, 1000.0]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((4, 28, 28)), r"shape \(4, 28, 28\), expected .*channels.*np\.newaxis"),
        (np.zeros(4), r"shape \(4,\), expected"),
        (np.zeros((0, 28, 28, 1)), r"Got no images: an array of shape \(0, 28, 28, 1\)"),
        (np.zeros((0, 2)), r"shape \(0, 2\).*empty"),
        (np.full((4, 2, 2, 1), np.nan), "Got 16 NaN among 16 values"),
        (np.full((4, 2, 2, 1), 255, np.uint8), r"from 255 to 255, expected \[-1, 1\].*to_signed"),
        (np.array([[0.0], [np.nan]]), r"shape \(2, 1\).*not finite"),
        (np.array([[0.0], [np.inf]]), r"shape \(2, 1\).*not finite"),
    ],
)
def test_samples_that_cannot_be_learned_from_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        data.batches(samples, batch_size=2)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "2", None])
def test_a_batch_size_that_is_no_count_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"Got batch_size={batch_size!r}, expected a whole number of at least 1"):
        data.batches(np.zeros((4, 2)), batch_size)


def test_a_gaussian_has_its_mean_and_standard_deviation():
    samples = data.gaussian_mixture(100_000, [[4.0, -2.0]], std=0.5)
    assert samples.shape == (100_000, 2)
    assert samples.dtype == np.float32
    # the standard errors are 0.5/√100,000 = 0.0016 and 0.0011: five of them
    np.testing.assert_allclose(samples.mean(axis=0), [4.0, -2.0], atol=0.008)
    np.testing.assert_allclose(samples.std(axis=0), [0.5, 0.5], atol=0.006)
    assert abs(np.corrcoef(samples.T)[0, 1]) < 0.016


def test_a_mixture_draws_its_modes_equally_often():
    centers = data.ring_centers(8)
    samples = data.gaussian_mixture(80_000, centers, std=0.01)
    distances = np.linalg.norm(samples[:, np.newaxis] - centers, axis=-1)
    assert distances.min(axis=1).max() < 0.06
    # each count is 10,000 with a standard deviation of √(80,000·1/8·7/8) = 94
    np.testing.assert_allclose(np.bincount(distances.argmin(axis=1)), 10_000, atol=470)


def test_a_mixture_is_repeated_by_its_seed_only():
    first, again, other = (data.gaussian_mixture(5, [[0.0], [9.0]], 1.0, seed=seed).ravel() for seed in (3, 3, 4))
    assert first.tolist() == again.tolist()
    assert not np.isin(first, other).any()


@pytest.mark.parametrize(
    ("samples", "centers", "std", "message"),
    [
        (0, [[4.0]], 1.0, "samples=0 and std=1.0, expected at least 1 sample"),
        (5, [[4.0]], 0.0, "std=0.0, expected .*std > 0"),
        (5, [[4.0]], -1.0, "std=-1.0, expected .*std > 0"),
        (5, [[4.0]], float("nan"), "std=nan, expected .*std > 0"),
        (5, [4.0], 1.0, r"centers of shape \(1,\), expected \(modes, dimensions\)"),
        (5, np.zeros((0, 2)), 1.0, r"centers of shape \(0, 2\), expected \(modes, dimensions\)"),
    ],
)
def test_a_mixture_that_does_not_exist_is_refused(samples, centers, std, message):
    with pytest.raises(ValueError, match=message):
        data.gaussian_mixture(samples, centers, std)


def test_a_ring_of_8_has_8_points_evenly_on_the_circle():
    centers = data.ring_centers(8, radius=2.0)
    assert centers.shape == (8, 2)
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 2.0)
    # linspace(0, 2π, 8) would visit the first point twice; neighbours are 2·2·sin(π/8) = 1.5307 apart
    np.testing.assert_allclose(np.linalg.norm(centers - np.roll(centers, 1, axis=0), axis=1), 1.530734, atol=1e-6)
    assert len(np.unique(centers.round(6), axis=0)) == 8
    np.testing.assert_allclose(centers.mean(axis=0), 0.0, atol=1e-12)


def test_a_grid_surrounds_the_origin():
    assert data.grid_centers(2, spacing=4.0).tolist() == [[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]]
    centers = data.grid_centers()
    assert centers.shape == (25, 2)
    assert len(np.unique(centers, axis=0)) == 25
    assert sorted(set(centers.ravel())) == [-4.0, -2.0, 0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (data.ring_centers, (0,), "modes=0 and radius=1.0, expected at least 1 mode"),
        (data.ring_centers, (8, 0.0), "radius=0.0, expected .*radius > 0"),
        (data.ring_centers, (8, float("nan")), "radius=nan, expected .*radius > 0"),
        (data.grid_centers, (0,), "side=0 and spacing=2.0, expected at least 1 point"),
        (data.grid_centers, (5, -1.0), "spacing=-1.0, expected .*spacing > 0"),
    ],
)
def test_centers_that_do_not_exist_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.fixture
def celeba(tmp_path):
    """Three photographs in the layout of CelebA: 178×218 pixels, each of one colour around a square of another."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for index, color in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        photo = Image.new("RGB", (178, 218), "black")
        photo.paste(color, (35, 55, 35 + 108, 55 + 108))
        photo.save(folder / "img_align_celeba" / f"{index + 1:06d}.jpg", quality=95)
    rows = ["3", "Eyeglasses Male Smiling ", "000001.jpg -1 -1  1", "000002.jpg  1 -1 -1", "000003.jpg -1  1  1"]
    (folder / "list_attr_celeba.txt").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("image_size", [32, 64])
def test_celeba_keeps_the_middle_of_each_photograph(celeba, image_size):
    images, attributes = data.load_celeba(celeba, image_size)
    assert images.shape == (3, image_size, image_size, 3)
    assert images.dtype == np.float32
    inner = images[:, 2:-2, 2:-2]  # at the rim JPEG mixes the colours
    expected = np.broadcast_to((2.0 * np.eye(3) - 1.0)[:, np.newaxis, np.newaxis], inner.shape)
    np.testing.assert_allclose(inner, expected, atol=0.1)
    assert list(attributes) == ["Eyeglasses", "Male", "Smiling"]
    np.testing.assert_array_equal(attributes["Smiling"], [True, False, True])
    np.testing.assert_array_equal(attributes["Eyeglasses"], [False, True, False])


def test_celeba_can_be_read_in_part(celeba):
    images, attributes = data.load_celeba(celeba, 32, count=2)
    assert len(images) == len(attributes["Male"]) == 2
    with pytest.raises(ValueError, match=r"Got count=0 and 3 images"):
        data.load_celeba(celeba, 32, count=0)


def test_photographs_that_cannot_be_used_are_counted_and_named(celeba):
    (celeba / "img_align_celeba" / "000002.jpg").write_bytes(b"not a picture")
    Image.new("RGB", (178, 90)).save(celeba / "img_align_celeba" / "000003.jpg")
    with pytest.raises(ValueError, match=r"2 of 3 images .*000002\.jpg.*000003\.jpg: 178×90 pixels, expected at least"):
        data.load_celeba(celeba)
    for name in ("000002.jpg", "000003.jpg"):
        (celeba / "img_align_celeba" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 3 images cannot be used: 000002\.jpg"):
        data.load_celeba(celeba)
    assert len(data.load_celeba(celeba, count=1)[0]) == 1


def test_a_folder_that_is_not_celeba_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"list_attr_celeba\.txt is missing\. Unpack CelebA there"):
        data.load_celeba(tmp_path)


def test_a_damaged_list_of_celeba_is_refused(celeba):
    listed = celeba / "list_attr_celeba.txt"
    rows = listed.read_text().splitlines()
    listed.write_text("\n".join([*rows[:-1], rows[-1][:-3]]))
    with pytest.raises(ValueError, match=r"list_attr_celeba\.txt is damaged, expected a file and 3 values"):
        data.load_celeba(celeba)
    for text in ("", "3\n", "3\nEyeglasses Male Smiling\n"):
        listed.write_text(text)
        with pytest.raises(ValueError, match=r"and 0 images in .*expected at least 1"):
            data.load_celeba(celeba)


COLORS = {"a.png": (255, 0, 0), "B.JPG": (0, 255, 0), "c.JpEg": (0, 0, 255), "more/a.PNG": (255, 255, 255)}


@pytest.fixture
def photos(tmp_path):
    """Four images, wide and high, each with a square of one colour in its middle, among files that are none."""
    folder = tmp_path / "photos"
    (folder / "more" / "empty.png").mkdir(parents=True)  # a folder, whatever its name
    for index, (name, color) in enumerate(COLORS.items()):
        photo = Image.new("RGB", (120, 40) if index % 2 else (40, 90), "black")
        photo.paste(color, (40, 0, 80, 40) if index % 2 else (0, 25, 40, 65))
        photo.save(folder / name, quality=95, subsampling=0)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.mark.parametrize("image_size", [40, 16])
def test_a_folder_gives_the_middle_of_each_image_in_the_order_of_names(photos, image_size):
    images = data.load_image_folder(photos, image_size)
    assert images.dtype == np.float32
    colors = [COLORS[name] for name in ("B.JPG", "a.png", "c.JpEg", "more/a.PNG")]
    expected = np.array(colors)[:, np.newaxis, np.newaxis] / 127.5 - 1.0
    assert images.shape == (4, image_size, image_size, 3)
    inner = images[:, 1:-1, 1:-1]  # resizing mixes the rim with what lies beyond
    np.testing.assert_allclose(inner, np.broadcast_to(expected, inner.shape), atol=0.03)
    np.testing.assert_array_equal(data.load_image_folder(str(photos), image_size), images)


def test_gray_images_and_palettes_become_colour(tmp_path):
    for name, mode in (("gray.png", "L"), ("palette.png", "P"), ("transparent.png", "RGBA")):
        Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(tmp_path / name)
    np.testing.assert_array_equal(data.load_image_folder(tmp_path, 8), np.ones((3, 8, 8, 3)))


def png_that_claims(width, height):
    """A file of a few bytes whose header announces an image of that size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])


def test_images_of_a_folder_that_cannot_be_used_are_counted_and_the_first_three_named(photos):
    broken = {"d.jpg": b"", "e.png": b"GIF89a", "f.jpeg": (photos / "B.JPG").read_bytes()[:300]}
    for name, content in broken.items():
        (photos / name).write_bytes(content)
    Image.new("RGB", (200, 39)).save(photos / "g.png")
    with pytest.raises(ValueError, match=r"4 of 8 images cannot be used: d\.jpg: .*; e\.png: .*; f\.jpeg: [^;]*remove"):
        data.load_image_folder(photos, 40)
    for name in broken:
        (photos / name).unlink()
    with pytest.raises(ValueError, match=r"1 of 5 images .*: g\.png: 200×39 pixels, expected at least 40×40\. Replace"):
        data.load_image_folder(photos, 40)
    assert len(data.load_image_folder(photos, 39)) == 5


@pytest.mark.parametrize("side", [12_000, 60_000])  # of the first Pillow only warns
def test_an_image_that_would_fill_the_memory_is_refused(photos, side):
    (photos / "more" / "bomb.png").write_bytes(png_that_claims(side, side))
    with pytest.raises(ValueError, match=r"1 of 5 images cannot be used: more/bomb\.png: .*decompression bomb"):
        data.load_image_folder(photos, 16)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "notes.txt"):
        with pytest.raises(FileNotFoundError, match=rf"{folder} is missing, or holds no images \(\.jpg, \.jpeg"):
            data.load_image_folder(folder)


def test_damaged_tables_are_named(folder):
    (folder / "results").mkdir()
    for text in ("", "{", "[1, 2]", "3", "\x00"):
        (folder / "results" / "study.json").write_text(text)
        with pytest.raises(ValueError, match=r"study\.json is damaged \(.*git checkout"):
            data.load_results("study")
    (folder / "manifest.json").write_bytes(b"\xff{}")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        data.load_mnist()


def test_images_that_rounding_moved_over_the_edge_are_taken():
    assert data.to_bytes(np.array([-1.0000001, 1.0000001])).tolist() == [0, 255]
