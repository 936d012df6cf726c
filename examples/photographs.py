"""Photographs for edit.py: six that come with scikit-image and matplotlib, and larger sets in files. float32 from 0 to 1, (h, w, 3).

GCompris, KDE's collection of games for children, shows 225 photographs of animals, monuments, tools and fish, by many people,
under free licenses. Debian's package gcompris-qt-data holds them; 3.1 was used here (`apt install gcompris-qt-data`).
"""

import io
import re
from pathlib import Path

import numpy as np
from matplotlib import cbook
from PIL import Image
from skimage import data

GAMES = "erase", "explore_farm_animals", "explore_monuments", "explore_world_animals", "categorization"
GCOMPRIS = [Path("/usr/share/gcompris-qt/rcc", f"{game}.rcc") for game in GAMES]


def real(image):
    return np.asarray(image, np.float32) / 255


def in_wheels():
    """{name: photograph}, those in scikit-image's wheel that show things in colour, and matplotlib's; cut to multiples of 8."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        found = {"hopper": np.asarray(Image.open(file)), "motorcycle": data.stereo_motorcycle()[0]}
    found |= dict(astronaut=data.astronaut(), cat=data.chelsea(), coffee=data.coffee(), rocket=data.rocket())
    return {
        name: real(image[: len(image) // 8 * 8, : image.shape[1] // 8 * 8]) for name, image in found.items()
    }


def in_files(files):
    """{name: photograph}, all in colour, no two alike, at most 256 x 256; of image files, or GCompris's, which hold WebP as it is."""
    found, thumbnails = {}, []
    for file in files:
        sources = [file]
        if file.suffix == ".rcc":
            content = file.read_bytes()
            starts = [webp.start() for webp in re.finditer(b"RIFF....WEBP", content, re.S)]
            sources = [io.BytesIO(content[start:]) for start in starts]
        for k, source in enumerate(sources):
            image = Image.open(source)
            if image.mode != "RGB" or min(image.size) < 200:  # grey, an icon, or cut out of a photograph
                continue
            image.thumbnail((256, 256), Image.Resampling.LANCZOS)
            thumbnail = np.asarray(image.convert("L").resize((8, 8)), int)
            known = any(np.abs(thumbnail - other).mean() <= 2 for other in thumbnails)
            if not known and np.ptp(image, axis=-1).mean() > 1:
                thumbnails.append(thumbnail)
                found[f"{file.stem} {k}" if file.suffix == ".rcc" else file.stem] = real(image)
    return found
