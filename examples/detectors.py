"""Two small detectors that need no download. Yours are better: put your model here."""

import math

from skimage import color, data, feature, filters, measure, segmentation

from encord_agents.core.data_model import ImageArray

cascade = feature.Cascade(data.lbp_frontal_face_cascade_filename())
Box = tuple[float, float, float, float]  # top, left, bottom, right: pixels
Boxes = list[tuple[Box, float]]  # each with its confidence


def find_faces(photo: ImageArray) -> Boxes:
    """Faces from the front, with the LBP cascade that comes with scikit-image: those it also finds in the mirror."""
    (height, width), found = photo.shape[:2], []
    sizes = {"min_size": (max(24, min(height, width) // 10),) * 2, "max_size": (min(height, width),) * 2}
    for view in (photo, photo[:, ::-1].copy()):
        hits = cascade.detect_multi_scale(view, 1.2, 1, min_neighbor_number=5, **sizes)
        found.append([(hit["r"], hit["c"], hit["r"] + hit["height"], hit["c"] + hit["width"]) for hit in hits])
    mirrored = [(top, width - right, bottom, width - left) for top, left, bottom, right in found[1]]
    # The confidence is how well the box agrees with one found in the mirror: a face is one there, too.
    scores = [max((iou(box, other) for other in mirrored), default=0.0) for box in found[0]]
    return [(box, score) for box, score in zip(found[0], scores, strict=True) if score > 0.5]


def iou(a: Box, b: Box) -> float:
    """The area that two boxes share, of the area that they cover: 0 to 1."""
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def find_round_objects(photo: ImageArray) -> Boxes:
    """Bright round regions (Otsu's threshold): coins, balls, lamps. Those at the border are left out."""
    grey = filters.gaussian(color.rgb2gray(photo), 1)
    flat = grey - filters.gaussian(grey, min(grey.shape) / 6)  # without uneven light
    regions = measure.regionprops(measure.label(segmentation.clear_border(flat > filters.threshold_otsu(flat))))
    large = [region for region in regions if region.area_filled > 0.003 * grey.size]
    # The confidence is the circularity: 1 for a circle, 0.79 for a square, little for anything ragged.
    scores = [4 * math.pi * r.area_filled / measure.perimeter_crofton(r.image_filled) ** 2 for r in large]
    return [(region.bbox, min(1.0, score)) for region, score in zip(large, scores, strict=True) if score > 0.9]
