"""Readers of image files, on files that the tests write."""

import gzip
import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from fidelity import data, sources
from fidelity.data import load, make_dataset, make_source
from fidelity.sources import from_tfds, read_idx

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record", reason="array_record has wheels for Linux only")

RNG = np.random.default_rng(0)
TRAIN = make_dataset(RNG.integers(0, 256, (12, 6, 5), np.uint8), np.arange(12) % 3)
TEST = make_dataset(RNG.integers(0, 256, (6, 6, 5), np.uint8), np.arange(6) % 3)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.index, expected.index)


def idx_bytes(array):
    """The IDX format from its description: type 8, number of axes, big-endian sizes."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return head + array.astype(np.uint8).tobytes()


def write_idx(folder, compressed):
    for part, dataset in (("train", TRAIN), ("t10k", TEST)):
        arrays = {"images-idx3": dataset.images[..., 0], "labels-idx1": dataset.labels}
        for name, array in arrays.items():
            raw = idx_bytes(array)
            path = folder / f"{part}-{name}-ubyte{'.gz' if compressed else ''}"
            path.write_bytes(gzip.compress(raw) if compressed else raw)
    return folder


@pytest.mark.parametrize("compressed", [False, True])
def test_idx(tmp_path, compressed):
    source = load(f"idx:{write_idx(tmp_path, compressed)}")
    assert_same(source.train, TRAIN)
    assert_same(source.test, TEST)
    assert source.class_names == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("boot\nshirt\ndress\n")
    assert load(f"idx:{tmp_path}").class_names == ("boot", "shirt", "dress")
    (tmp_path / "classes.txt").write_text("boot\nshirt\n")
    with pytest.raises(ValueError, match=r"lie in \[0, 2\], but there are 2 class"):
        load(f"idx:{tmp_path}")


def test_idx_that_is_missing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="apt-get install dataset-fashion-mnist"
    ):
        load(f"idx:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG", "begins with '89 50 4e 47'"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file of unsigned bytes"),
        (idx_bytes(np.zeros((2, 3)))[:-1], "17 bytes where its header says 18"),
        (idx_bytes(np.zeros((2, 3)))[:9], "is damaged"),
        (idx_bytes(np.zeros((2, 3))) + b"\0", "19 bytes where its header says 18"),
        (gzip.compress(idx_bytes(np.zeros((2, 3))), mtime=0)[:-9], "is damaged"),
        (gzip.compress(b"\0" * 99, mtime=0)[:10] + b"rubbish" * 9, "is damaged"),
    ],
)
def test_damaged_idx(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def npz_arrays():
    return {
        "train_images": TRAIN.images,
        "train_labels": TRAIN.labels,
        "test_images": TEST.images,
        "test_labels": TEST.labels,
    }


def test_npz(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **npz_arrays())
    source = load(f"npz:{path}")
    assert_same(source.train, TRAIN)
    assert_same(source.test, TEST)
    assert source.name == "set"
    ids = np.arange(12)[::-1] * 7
    np.savez(path, **npz_arrays(), train_index=ids, class_names=["a", "b", "c"])
    source = load(f"npz:{path}")
    np.testing.assert_array_equal(source.train.index, ids)
    np.testing.assert_array_equal(source.test.index, TEST.index)
    assert source.class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_images": TRAIN.images / 255},
            "uint8 in 0..255, got float64: multiply",
        ),
        ({"train_images": TRAIN.images[:5]}, "5 images but 12 labels"),
        ({"train_images": TRAIN.images[0]}, "6 images but 12 labels"),
        ({"train_images": TRAIN.images[:0], "train_labels": np.int32([])}, "not empty"),
        ({"train_images": TRAIN.images[:, 0, 0]}, r"got shape \(12, 1\)"),
        ({"train_images": TRAIN.images[:, :4]}, "pass image_size, or convert"),
        ({"train_labels": TRAIN.labels[:, None]}, r"labels must be integers \[N\]"),
        ({"train_labels": TRAIN.labels * 0.5}, "got float64"),
        ({"test_labels": TEST.labels - 1}, r"test labels lie in \[-1, 1\]"),
        ({"class_names": ["a", "b"]}, "there are 2 class names"),
        ({"class_names": ["a", "b", "a"]}, "class names repeat"),
        ({"train_index": np.zeros(12, int)}, "index holds an id twice"),
        ({"test_index": np.arange(5)}, "6 images but 5 index"),
    ],
)
def test_npz_with_wrong_arrays(tmp_path, change, message):
    path = tmp_path / "set.npz"
    np.savez(path, **(npz_arrays() | change))
    with pytest.raises(ValueError, match=message):
        load(f"npz:{path}")


def test_damaged_npz(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(FileNotFoundError, match=r"numpy\.savez\(path, train_images"):
        load(f"npz:{path}")
    np.savez(path, train_images=TRAIN.images, train_labels=TRAIN.labels)
    with pytest.raises(
        ValueError, match="lacks test_images, test_labels; it has train"
    ):
        load(f"npz:{path}")
    np.savez(path, x=np.array([object()]))
    with pytest.raises(ValueError, match="not an intact npz"):
        load(f"npz:{path}")
    np.savez_compressed(path, **npz_arrays())
    intact = path.read_bytes()
    for content in (
        b"",
        b"text",
        intact[:-40],
        intact[:60] + b"\xff" * 90 + intact[150:],
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not an intact npz"):
            load(f"npz:{path}")
    np.save(tmp_path / "one.npy", TRAIN.images)
    with pytest.raises(ValueError, match="not an intact npz"):
        load(f"npz:{tmp_path / 'one.npy'}")


def write_folder(root, dataset, part, suffix="png", names=("cat", "dog", "eel")):
    for i, (image, label) in enumerate(
        zip(dataset.images, dataset.labels, strict=True)
    ):
        path = root / part / names[label] / f"{i:03}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(path)


def test_folder(tmp_path):
    write_folder(tmp_path, TRAIN, "train")
    write_folder(tmp_path, TEST, "test")
    source = load(f"folder:{tmp_path}")
    assert source.class_names == ("cat", "dog", "eel")
    order = np.argsort(TRAIN.labels, kind="stable")
    np.testing.assert_array_equal(source.train.images, TRAIN.images[order])
    np.testing.assert_array_equal(source.train.labels, TRAIN.labels[order])
    np.testing.assert_array_equal(source.train.index, np.arange(12))


def test_folder_of_colour_photographs_of_all_sizes(tmp_path):
    """Smooth pictures survive JPEG; the crop keeps the middle and the aspect ratio."""
    for part in ("train", "test"):
        (tmp_path / part / "x").mkdir(parents=True)
        ramp = np.linspace(0, 255, 60).astype(np.uint8)
        tall = np.stack([np.broadcast_to(ramp[:, None], (60, 20))] * 3, -1)
        Image.fromarray(tall).save(tmp_path / part / "x" / "a.jpg", quality=95)
        Image.fromarray(tall.swapaxes(0, 1)).save(tmp_path / part / "x" / "b.JPEG")
        Image.fromarray(tall[:30, :, 0]).save(tmp_path / part / "x" / "c.png")
    (tmp_path / "train" / "x" / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError, match=r"3 shapes, such as .*: pass image_size"):
        load(f"folder:{tmp_path}")
    source = load(f"folder:{tmp_path}", image_size=10)
    assert source.train.images.shape == (3, 10, 10, 3)
    a, b, c = source.train.images.astype(int)
    middle = ramp[20:40].reshape(10, 2).mean(1)
    np.testing.assert_allclose(a[:, 5, 1], middle, atol=5)
    np.testing.assert_allclose(b[5, :, 1], middle, atol=5)
    np.testing.assert_array_equal(c[..., 0], c[..., 2])


def test_folder_errors(tmp_path):
    place = f"folder:{tmp_path}"
    with pytest.raises(FileNotFoundError, match=r"train/CLASS/NAME\.png"):
        load(place)
    write_folder(tmp_path, TRAIN, "train")
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*/test"):
        load(place)
    write_folder(tmp_path, TEST, "test", names=("cat", "dog", "fox"))
    with pytest.raises(ValueError, match=r"train lacks: \['fox'\]"):
        load(place)
    (tmp_path / "test" / "fox").rename(tmp_path / "test" / "eel")
    victim = tmp_path / "train" / "cat" / "000.png"
    intact = victim.read_bytes()
    victim.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"000\.png is not a picture"):
        load(place)
    victim.write_bytes(intact[:-30])
    with pytest.raises(ValueError, match=r"000\.png is a damaged picture"):
        load(place)
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(victim)
    with pytest.raises(ValueError, match="mode I;16: convert them to 8 bits"):
        load(place)
    victim.write_bytes(intact)
    with pytest.raises(ValueError, match="image_size must be at least 1, got 0"):
        load(place, image_size=0)


def builder(name, *, features=None, splits=("train", "test"), keys=None, wrap=None):
    """A TFDS builder of the arrays above, as a user would write it."""
    image = tfds.features.Tensor(shape=(6, 5, 1), dtype=np.uint8)
    label = tfds.features.ClassLabel(names=["cat", "dog", "eel"])
    wrap = wrap or (lambda image, label, i: {"image": image, "label": label})

    def _info(self):
        found = tfds.features.FeaturesDict(features or {"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=found, supervised_keys=keys)

    def _split_generators(self, manager):
        parts = dict(zip(splits, (TRAIN, TEST), strict=True))
        return {split: self._generate_examples(part) for split, part in parts.items()}

    def _generate_examples(self, dataset):
        for i, (x, y) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
            yield i, wrap(x, int(y), i)

    members = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": _info,
        "_split_generators": _split_generators,
        "_generate_examples": _generate_examples,
        # TFDS looks for its metadata beside the module.
        "__module__": __name__,
    }
    bases = (tfds.core.GeneratorBasedBuilder,)
    # Unregistered, so that "tfds:" must find the files without the class.
    return type(name, bases, members, skip_registration=True)


def in_order(dataset):
    """By id, since TFDS shuffles."""
    return data.take(dataset, np.argsort(dataset.index))


def with_index(image, label, i):
    return {"image": image, "label": label, "index": i}


def test_tfds(tmp_path, monkeypatch):
    """Written by TFDS in array_record, read back without TensorFlow, by two names."""
    monkeypatch.setattr(data, "_BUILDERS", dict(data._BUILDERS))
    features = {
        "image": tfds.features.Tensor(shape=(6, 5, 1), dtype=np.uint8),
        "label": tfds.features.ClassLabel(names=["cat", "dog", "eel"]),
        "index": np.int64,
    }
    made = builder("TinyPets", features=features, wrap=with_index)
    data.register("pets", from_tfds(made))
    source = load("pets", data_dir=str(tmp_path))
    assert_same(in_order(source.train), TRAIN)
    assert_same(in_order(source.test), TEST)
    assert source.class_names == ("cat", "dog", "eel")
    # Without the class, from the files alone; the order is that of the files.
    found = load("tfds:tiny_pets", data_dir=str(tmp_path))
    assert_same(found.train, source.train)
    resized = load("tfds:tiny_pets", data_dir=str(tmp_path), image_size=4)
    assert resized.train.images.shape == (12, 4, 4, 1)
    with pytest.raises(
        FileNotFoundError, match=r"mnist is not prepared.*file_format='array_record'"
    ):
        load("tfds:mnist", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="TFDS knows no set 'no_such_set'"):
        load("tfds:no_such_set", data_dir=str(tmp_path))
    info = next(tmp_path.glob("tiny_pets/1.0.0/dataset_info.json"))
    text = json.loads(info.read_text())
    info.write_text(json.dumps(text | {"fileFormat": "tfrecord"}))
    with pytest.raises(ValueError, match=r"not in the array_record format"):
        load("tfds:tiny_pets", data_dir=str(tmp_path))


def test_tfds_images_as_png(tmp_path):
    """`features.Image` fed with PNG bytes, a validation split, other feature names."""

    def wrap(image, label, i):
        out = io.BytesIO()
        Image.fromarray(image[..., 0]).save(out, "png")
        return {"picture": out.getvalue(), "kind": label}

    features = {
        "picture": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        "kind": tfds.features.ClassLabel(num_classes=3),
    }
    made = builder(
        "TinyPng",
        features=features,
        splits=("train", "validation"),
        keys=("picture", "kind"),
        wrap=wrap,
    )
    source = from_tfds(made)(str(tmp_path), None)
    assert source.class_names == ("0", "1", "2")
    written = {x.tobytes(): y for x, y in zip(TRAIN.images, TRAIN.labels, strict=True)}
    read = zip(source.train.images, source.train.labels, strict=True)
    assert {x.tobytes(): y for x, y in read} == written
    np.testing.assert_array_equal(source.train.index, np.arange(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"splits": ("train", "other")},
            r"has the splits .*: train and test are needed",
        ),
        ({"keys": ("image", "image")}, "labels must be integers"),
        ({"keys": ("picture", "label")}, "not 'picture' and 'label': name an image"),
    ],
)
def test_tfds_sets_that_do_not_fit(tmp_path, options, message):
    made = builder("TinyOdd", **options)
    with pytest.raises(ValueError, match=message):
        from_tfds(made)(str(tmp_path), None)


def test_sources_are_checked_by_hand():
    with pytest.raises(ValueError, match="can resize 1, 3 or 4 channels, not 2"):
        sources.resize(np.zeros((1, 4, 4, 2), np.uint8), 2)
    two = make_dataset(np.zeros((2, 4, 4, 2), np.uint8), np.array([0, 1]))
    assert make_source("two", two, two).train.images.shape == (2, 4, 4, 2)
