import shutil
import struct
import warnings
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


def test_a_batch_is_drawn_from_all_samples_even_if_they_are_sorted():
    batch = next(iter(data.batches(np.arange(1000.0)[:, np.newaxis], 100))).numpy()
    # 100 of 0 … 999: a mean of 499.5 with a standard error of 1000/√12/√100 = 29; five of them
    assert abs(batch.mean() - 499.5) < 145
    assert batch.max() > 900


def test_batches_of_images_keep_each_image_whole():
    images = np.linspace(-1, 1, 6 * 8).reshape(6, 2, 2, 2)
    (batch,) = data.batches(images, batch_size=100)
    assert batch.shape == (6, 2, 2, 2)
    order = np.argsort(batch.numpy()[:, 0, 0, 0])
    np.testing.assert_allclose(batch.numpy()[order], images, atol=1e-7)


def test_vectors_may_have_any_range():
    (batch,) = data.batches(np.full((2, 1), 1000.0), batch_size=2)
    assert batch.numpy().ravel().tolist() == [1000.0, 1000.0]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, list])
def test_batches_with_labels_come_in_the_order_of_batches_without(kind):
    samples = np.arange(40.0)[:, np.newaxis]
    labels = (np.arange(40) % 11 - 1).tolist() if kind is list else (np.arange(40) % 11 - 1).astype(kind)
    labelled, plain = data.batches(samples, 16, seed=3, labels=labels), data.batches(samples, 16, seed=3)
    assert [(spec.shape.as_list(), spec.dtype.name) for spec in labelled.element_spec] == [
        ([None, 1], "float32"),
        ([None], "int32"),
    ]
    assert len(labelled) == 3
    for _ in range(2):  # epochs
        for (batch, its_labels), expected in zip(labelled, plain, strict=True):
            np.testing.assert_array_equal(batch, expected)
            np.testing.assert_array_equal(its_labels, batch.numpy()[:, 0] % 11 - 1)


def test_unsigned_labels_are_labels_too():
    ((_, labels),) = data.batches(np.zeros((2, 1)), 2, labels=np.array([255, 255], np.uint8))
    assert labels.numpy().tolist() == [255, 255]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 2], ValueError, r"labels of shape \(3,\), expected \(4,\): a whole number for each sample"),
        (np.zeros((4, 1), int), ValueError, r"labels of shape \(4, 1\), expected \(4,\)"),
        (np.zeros((4, 10), int), ValueError, r"labels of shape \(4, 10\), expected \(4,\)"),
        (7, ValueError, r"labels of shape \(\), expected \(4,\)"),
        ([0, 1, 2, -2], ValueError, r'labels from -2 to 2, expected at least -1, which is "unlabelled"'),
        ([0, 1, 2, 2**31], ValueError, r"labels from 0 to 2147483648, expected .*below 2³¹"),
        (np.array([0, 2**64 - 1] * 2, np.uint64), ValueError, r"labels from 0 to 18446744073709551615, expected"),
        ([0.0, 1.0, 2.0, 3.0], TypeError, r"labels=\[0.0, .* of type float64, expected whole numbers"),
        ([True, False, True, False], TypeError, r"labels=\[True, .* of type bool, expected whole numbers"),
        (["cat", "dog", "cat", "dog"], TypeError, r"Got labels=\['cat', 'dog'.*expected real numbers"),
        ([0, 1, None, 2], TypeError, r"Got labels=\[0, 1, None, 2\], expected real numbers"),
    ],
)
def test_labels_that_are_none_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        data.batches(np.zeros((4, 2)), 2, labels=labels)


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


def of_one_image(folder, image, name="a.png", size=None, **options):
    """Bytes that are loaded of an image, (height, width, 3), once it is saved as the only one of a folder."""
    image.save(folder / name, **options)
    (loaded,) = data.to_bytes(data.load_image_folder(folder, size or min(image.size)))
    return loaded


@pytest.mark.parametrize(("kind", "form"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF"), ("<i4", "TIFF")])
def test_sixteen_bits_become_eight(tmp_path, kind, form):
    # 257·v is v in eight bits; half a step of 257 more is rounded up, one less is rounded down.
    shades = [0, 1, 128, 129, 255, 257, 10_000, 257 * 200, 257 * 200 + 128, 257 * 200 + 129, 65_535]
    expected = [0, 0, 0, 1, 1, 1, 39, 200, 200, 201, 255]
    pixels = np.array(shades, kind)[np.newaxis].repeat(11, axis=0)
    loaded = of_one_image(tmp_path, Image.fromarray(pixels), format=form)
    np.testing.assert_array_equal(loaded, np.tile(np.array(expected)[:, np.newaxis], (11, 1, 3)))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((4, 4), 0.5, np.float32), "floating-point pixels, expected 8 or 16 bits"),
        (np.full((4, 4), 65_536, np.int32), r"pixels from 65536 to 65536, expected 0 … 65535"),
        (np.full((4, 4), -1, np.int32), r"pixels from -1 to -1, expected 0 … 65535"),
    ],
)
def test_pixels_of_unknown_range_are_refused(tmp_path, pixels, message):
    with pytest.raises(ValueError, match=rf"1 of 1 images cannot be used: a\.png: {message}"):
        of_one_image(tmp_path, Image.fromarray(pixels), format="TIFF")


def transparent(mode, color, alpha):
    """An image of 4×4 pixels of one colour, transparent in its left half and as `alpha` says in its right half."""
    image = Image.new(mode, (4, 4), (*color, 0))
    image.paste((*color, alpha), (2, 0, 4, 4))
    return image


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [("RGBA", "a.png", {}), ("LA", "a.png", {}), ("RGBA", "a.webp", {"lossless": True, "exact": True})],
)
def test_what_is_transparent_is_white(tmp_path, mode, name, options):
    black = (0,) * (len(mode) - 1)
    loaded = of_one_image(tmp_path, transparent(mode, black, 64), name, **options)
    assert loaded[:, :2].min() == 255
    np.testing.assert_array_equal(loaded[:, 2:], np.full((4, 2, 3), 255 - 64))  # a quarter black


@pytest.mark.parametrize(
    ("mode", "color", "name", "hidden"),
    [
        ("P", 1, "a.png", 1),
        ("P", 1, "a.png", b"\xff\x00"),
        ("P", 1, "a.gif", 1),
        ("L", 7, "a.png", 7),
        ("RGB", (7, 8, 9), "a.png", (7, 8, 9)),
    ],
)
def test_a_colour_that_stands_for_transparent_is_white(tmp_path, mode, color, name, hidden):
    image = Image.new(mode, (4, 4), 0)
    image.paste(color, (2, 0, 4, 4))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 0, 0])
    loaded = of_one_image(tmp_path, image, name, transparency=hidden)
    assert loaded[:, :2].max() == 0
    assert loaded[:, 2:].min() == 255


def test_a_shade_of_sixteen_bits_that_stands_for_transparent_is_white(tmp_path):
    rows = [b"\0" + struct.pack(">2H", 700, 0)] * 2
    (tmp_path / "a.png").write_bytes(png(2, 2, 16, 0, tRNS=struct.pack(">H", 700), IDAT=zlib.compress(b"".join(rows))))
    (loaded,) = data.to_bytes(data.load_image_folder(tmp_path, 2))
    assert loaded[..., 1].tolist() == [[255, 0], [255, 0]]


def test_bits_and_printers_inks_become_colour(tmp_path):
    bits = Image.fromarray(np.eye(8, dtype=bool))
    np.testing.assert_array_equal(of_one_image(tmp_path, bits)[..., 1], 255 * np.eye(8))
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    (tmp_path / "a.png").unlink()
    np.testing.assert_allclose(of_one_image(tmp_path, inks, "a.jpg", quality=95)[4, 4], [255, 0, 0], atol=3)


CORNERS = np.array([[10, 20, 30], [40, 50, 60]], np.uint8).repeat(3, axis=0)[:, [0, 0, 0, 1, 1, 1, 2, 2, 2]]  # 6×9
UPRIGHT = {  # by the orientation: where the first row and the first column of the stored pixels belong
    1: CORNERS,  # top, left
    2: CORNERS[:, ::-1],  # top, right
    3: CORNERS[::-1, ::-1],  # bottom, right
    4: CORNERS[::-1],  # bottom, left
    5: CORNERS.T,  # left, top
    6: CORNERS.T[:, ::-1],  # right, top
    7: CORNERS.T[::-1, ::-1],  # right, bottom
    8: CORNERS.T[::-1],  # left, bottom
}


@pytest.mark.parametrize("mode", ["L", "I;16"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photograph_is_turned_upright(tmp_path, orientation, mode):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(CORNERS if mode == "L" else CORNERS.astype(np.uint16) * 257)
    loaded = of_one_image(tmp_path, stored, exif=exif)[..., 0]
    upright = UPRIGHT[orientation]
    top, left = (upright.shape[0] - 6) // 2, (upright.shape[1] - 6) // 2
    np.testing.assert_array_equal(loaded, upright[top : top + 6, left : left + 6])


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_photographs_of_any_kind_are_turned(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # as a telephone held upright writes it
    photo = Image.new("RGB", (16, 16), "red")
    photo.paste("blue", (0, 0, 8, 16))
    loaded = of_one_image(tmp_path, photo, name, exif=exif, quality=95)
    np.testing.assert_allclose(loaded[[2, -2], 8], [[0, 0, 255], [255, 0, 0]], atol=12)


@pytest.mark.parametrize("exif", [b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03", b""])
def test_an_image_whose_orientation_cannot_be_read_stays_as_it_is(tmp_path, exif):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = of_one_image(tmp_path, Image.fromarray(CORNERS), exif=exif)[..., 0]
    np.testing.assert_array_equal(loaded, CORNERS[:, 1:7])
    assert not caught


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_an_image_that_is_cut_short_is_broken(tmp_path, form):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64), dtype=np.uint8)).save(path, form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"1 of 1 images cannot be used: a\.png"):
        data.load_image_folder(tmp_path, 16)


@pytest.mark.parametrize("name", ["a.bmp", "a.BMP", "a.gif", "a.webp", "a.png"])
def test_other_kinds_of_images_are_read(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    loaded = of_one_image(tmp_path, Image.fromarray(np.arange(0, 256, 16, np.uint8).reshape(4, 4)), name, **options)
    np.testing.assert_array_equal(loaded[..., 2], np.arange(0, 256, 16).reshape(4, 4))


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_a_film_gives_its_first_frame(tmp_path, name):
    first, *others = (Image.new("L", (8, 8), shade) for shade in (0, 100, 200))
    loaded = of_one_image(tmp_path, first, name, save_all=True, append_images=others)
    np.testing.assert_allclose(loaded, 0, atol=2)


def test_what_is_left_out_of_a_folder_is_counted_in_a_line(photos, capsys):
    data.load_image_folder(photos, 16)
    assert capsys.readouterr().out == (
        f"{photos.as_posix()}: left out 0 hidden files and 1 of other kinds (.txt; read are .jpg, .jpeg, .png, .webp, "
        ".bmp, .gif).\n"
    )
    (photos / "notes.txt").unlink()
    whole = data.load_image_folder(photos, 16)
    assert not capsys.readouterr().out
    for name in (".ipynb_checkpoints/a-checkpoint.png", "more/.thumbs/deep/a.jpg", "._B.JPG", ".DS_Store"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"no image")
    np.testing.assert_array_equal(data.load_image_folder(photos, 16), whole)
    assert capsys.readouterr().out == f"{photos.as_posix()}: left out 4 hidden files and 0 of other kinds.\n"
    for name in ("a.heic", "a.tif", "b.TIF", "a.cr2", "a.mp4", "a.psd", "README", "z.zip"):
        (photos / name).touch()
    data.load_image_folder(photos, 16)
    assert "4 hidden files and 8 of other kinds (.cr2, .heic, .mp4, .psd, .tif, …; read are" in capsys.readouterr().out


def test_a_folder_that_is_itself_in_a_hidden_one_is_read(tmp_path):
    (tmp_path / ".cache").mkdir()
    assert of_one_image(tmp_path / ".cache", Image.new("L", (4, 4))).shape == (4, 4, 3)


@pytest.fixture
def animals(tmp_path):
    """Two classes, 'Zebra' before 'ant' as capital letters are, with an image in a folder of a folder."""
    folder = tmp_path / "animals"
    for shade, name in enumerate(("ant/a.png", "ant/more/b.png", "Zebra/c.png", "Zebra/d.bmp", "ant/z.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * shade).save(folder / name)
    (folder / "empty").mkdir()
    (folder / ".trash").mkdir()
    Image.new("L", (8, 8)).save(folder / ".trash" / "e.png")
    return folder


def test_each_subfolder_is_a_label(animals):
    images, labels, names = data.load_image_folder(animals, 8, labels=True)
    assert names == ["Zebra", "ant"]
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 1, 1, 1]
    assert data.to_bytes(images)[:, 0, 0, 0].tolist() == [20, 30, 0, 10, 40]
    np.testing.assert_array_equal(data.load_image_folder(animals, 8), images)


def test_an_image_without_a_subfolder_has_no_label(animals):
    Image.new("L", (8, 8)).save(animals / "loose.png")
    with pytest.raises(ValueError, match=r"1 images, such as loose\.png, lie in no subfolder, expected one"):
        data.load_image_folder(animals, 8, labels=True)
    assert len(data.load_image_folder(animals, 8)) == 6


def test_broken_images_are_left_out_where_one_asks_for_it(animals, capsys):
    (animals / "ant" / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 5 images .*: ant/a\.png: .*or go on without them by skip_broken=True"):
        data.load_image_folder(animals, 8, labels=True)
    capsys.readouterr()
    images, labels, names = data.load_image_folder(animals, 8, labels=True, skip_broken=True)
    assert (labels.tolist(), names) == ([0, 0, 1, 1], ["Zebra", "ant"])
    assert data.to_bytes(images)[:, 0, 0, 0].tolist() == [20, 30, 10, 40]
    _, line, _ = capsys.readouterr().out.split("\n")
    assert line.startswith(f"{animals.as_posix()}: left out 1 of 5 images, which cannot be used: ant/a.png: ")
    np.testing.assert_array_equal(data.load_image_folder(animals, 8, skip_broken=True), images)


def test_the_first_three_broken_images_are_named(animals, capsys):
    for name in ("ant/a.png", "ant/more/b.png", "Zebra/c.png", "Zebra/d.bmp"):
        (animals / name).write_bytes(b"no image")
    assert len(data.load_image_folder(animals, 8, skip_broken=True)) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert [name in line for name in ("Zebra/c.png", "Zebra/d.bmp", "ant/a.png", "ant/more/b.png")] == [True] * 3 + [
        False
    ]
    with pytest.raises(ValueError, match=r"All images of \['Zebra'\] are broken"):
        data.load_image_folder(animals, 8, labels=True, skip_broken=True)
    (animals / "ant/z.png").unlink()
    with pytest.raises(ValueError, match=r"4 of 4 images cannot be used: .*Replace or remove them\.$"):
        data.load_image_folder(animals, 8, skip_broken=True)


def test_labels_and_skip_broken_are_true_or_false(animals):
    with pytest.raises(TypeError, match=r"Got labels=\[0, 1\] and skip_broken=False, expected True or False"):
        data.load_image_folder(animals, 8, labels=[0, 1])
    with pytest.raises(TypeError, match=r"Got labels=False and skip_broken='yes', expected True or False"):
        data.load_image_folder(animals, 8, skip_broken="yes")


def png(width, height, bits, kind, **chunks):
    """A file that holds what Pillow would not write there."""
    chunks = {"IHDR": struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0), **chunks, "IEND": b""}
    named = [(name.encode(), content) for name, content in chunks.items()]
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in named]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])


def png_that_claims(width, height):
    """A file of a few bytes whose header announces an image of that size."""
    return png(width, height, 8, 2, IDAT=zlib.compress(b""))


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
