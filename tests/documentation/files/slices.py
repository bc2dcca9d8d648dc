"""Write made-up slices and their masks into each folder that is named."""

import sys
from pathlib import Path

import numpy as np
import tifffile

from objectives.mitochondria.generator import generate

for seed, name in enumerate(sys.argv[1:]):
    folder = Path(name)
    folder.mkdir(parents=True)
    slices = generate(8, 64, 64, seed)
    tifffile.imwrite(folder / "images.tif", slices.images, photometric="minisblack")
    tifffile.imwrite(folder / "masks.tif", slices.masks.astype(np.uint8), photometric="minisblack")
