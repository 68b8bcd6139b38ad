"""What is seen of a result, as layers of napari. Coordinates of layers are pixels of the finest grid, shown in um."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import shapely
from napari.layers import Layer

from pdl1quant.napari import colours
from pdl1quant.napari.region_names import RegionName, name_layer
from pdl1quant.outputs.palette import KINDS
from pdl1quant.outputs.regions import STYLES
from pdl1quant.review import RoiRule, densities_text, ellipse_ring, rings_of
from pdl1quant.slides.roi import CENTRE
from pdl1quant.views import heat_map, slide_levels, stain_levels, tissue_mask
from pdl1quant.views.scene import ARTEFACT_UM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pdl1quant.model import BoolArray, Float64Array, IntpArray, Slide, SlideGrid
    from pdl1quant.views import LevelArray, RegionView, Scene

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]

ALL_NAMES = SLIDE, HAEMATOXYLIN, DAB, TISSUE, ARTEFACTS, HEAT, CELLS, CENTRES, DOTS, DRAWN, NAMES, REGIONS, SELECTED = (
    "Slide",
    "Haematoxylin OD",
    "DAB OD",
    "Tissue",
    "Artefacts",
    "Heat map",
    "Cells",
    "Centroids",
    "Positive immune cells",
    "Drawn for the run",
    "Names of regions",
    "Regions",
    "Selected",
)
"""Names of the layers, from the bottom."""
MACHINE_LAYERS = (CELLS, CENTRES, DOTS, HEAT)
"""What a blind reader must not see."""
ROWS = "rows"
"""Key in the metadata of the dots: the rows of the cells that have one."""
ROW_KINDS = "kinds"
"""The same: the kinds of these rows."""
STALE = "stale"
"""Key in the metadata of a layer that does not show the last edits: nobody looks at it."""
OUTLINE_PX = {CELLS: 2, DRAWN: 3}
OD_LIMITS = (0.0, 1.0)
"""Densities from none to dark brown; the grades of DAB end at 0.6."""
CENTRE_UM = 3.0
DOTTED = tuple(
    number
    for number, kind in enumerate(KINDS)
    if kind.has_dot and any(other.rgb == kind.rgb and not other.has_dot for other in KINDS)
)
"""Kinds whose outline has the colour of another: a dot tells that they are positive."""
SELECTED_UM = 22.0
"""Around a tumour cell, not on it."""
RULE, REGION, NOT_TAKEN = "rule", "region", ""
"""Features of the shapes in the layer of regions: what each does, and its id; nothing until the reviewer says it."""
NOT_TAKEN_RGB = "#ffb000"
RULE_RGB = {RoiRule.INCLUDE: "#0a46f5", RoiRule.EXCLUDE: "#141414", RoiRule.ONLY: "#c80fb4"}
MAX_NAMES = 400
"""So many names are written in their regions, those of the largest; they hide more, and are hidden at first."""
NEAR = 2.0
"""Pixels of the screen per um at which a cell is seen that is gone to, at least: as at x200."""
REGION_PX = 500.0
"""On the screen, the longer side of a region that is gone to."""


def scene_layers(scene: Scene, *, hidden: Collection[str] = ()) -> list[LayerData]:
    """All layers of a result, from the bottom; those rarely looked at, and those ``hidden``, are there and not seen."""
    grid = scene.grids[0]
    placed = placing(grid)
    layers: list[LayerData] = []
    if scene.slide is not None:
        rgb = slide_levels(scene.slide, scene.grids)
        layers += slide_layers(scene.slide, scene.grids, name=SLIDE)
        if scene.estimate is not None:
            layers += _stain_layers(rgb, scene, placed)
            layers.append(_tissue_layer(scene))
    if scene.artefacts is not None:
        layers.append(_artefact_layer(scene.artefacts, scene))
    layers.append(_heat_layer(scene))
    if scene.cells.has_outlines:
        levels = scene.cells.levels
        meta = {**placed, "name": CELLS, "colormap": colours.cell_colours(), "opacity": 0.85}
        layers.append((_one_or_all(levels), meta | {"multiscale": len(levels) > 1}, "labels"))
    layers.append(_centre_layer(scene, placed))
    layers.append(_dot_layer(scene, placed))
    if scene.regions.regions:
        layers += _drawn_layers(scene.regions, grid, placed)
    return [(data, meta | ({"visible": False} if meta["name"] in hidden else {}), kind) for data, meta, kind in layers]


def add_layers(viewer: Any, layers: Iterable[LayerData]) -> dict[str, Layer]:
    """Add layers to a viewer; cells are shown by their outline, and only regions can be changed by napari's tools.

    They are given back by the names that they were to have: where another layer has it, napari numbers theirs.
    """
    added: dict[str, Layer] = {}
    for data, meta, kind in layers:
        layer = Layer.create(data, meta, kind)
        if layer.name in OUTLINE_PX:
            layer.contour = OUTLINE_PX[layer.name]
        added[layer.name] = layer
        is_drawn_on = layer.name == REGIONS
        viewer.add_layer(layer)
        layer.editable = is_drawn_on  # points can be moved again once they are in a viewer
        if not is_drawn_on:
            layer.events.editable.connect(_stay_as_it_is)  # and all layers once they are given data, or seen in 3D
    return added


def _stay_as_it_is(event: Any) -> None:
    event.source.editable = False


def name_cells(layer: Any, scene: Scene) -> None:
    """Say what the cell below the mouse is shown as, and its DAB, where napari says the number of its label."""
    plain = layer.get_status

    def status(position: Any = None, **how: Any) -> dict[str, str]:
        said: dict[str, str] = plain(position, **how)
        value = None if position is None else layer.get_value(position, **how)
        if label := value[1] if isinstance(value, tuple) else value:
            row, kind = divmod(int(label) - 1, len(KINDS))
            said["value"] = f"{KINDS[kind].name}; {densities_text(scene.review, row)}"
            said["coordinates"] = f"{said['coords']}: {said['value']}"
        return said

    layer.get_status = status


def show_scale_bar(viewer: Any) -> None:
    """Show how long some um are."""
    viewer.canvas.overlays.scale_bar.visible = True


def region_rings(scene: Scene) -> dict[str, list[Float64Array]]:
    """The rings of each region of the review, parts and holes, by its id."""
    grid = scene.grids[0]
    regions = scene.review.state.regions()
    return {name: [to_layer(ring, grid) for ring in rings_of(outline)] for name, (_, outline) in regions.items()}


def region_layer(scene: Scene, drawn: Sequence[Float64Array] = ()) -> LayerData:
    """The regions of the review, and where the next are drawn; ``drawn`` is not taken into it yet."""
    regions, rings = scene.review.state.regions(), region_rings(scene)
    parts = [(ring, name, regions[name][0]) for name, of_region in rings.items() for ring in of_region]
    meta = {"name": REGIONS, "face_color": "transparent", "edge_width": 2.0, "edge_color": NOT_TAKEN_RGB}
    meta["metadata"] = {"drawn": regions, "rings": rings}
    rules = np.array([*(str(rule) for *_, rule in parts), *(NOT_TAKEN for _ in drawn)], dtype=object)
    names = np.array([*(name for _, name, _ in parts), *(NOT_TAKEN for _ in drawn)], dtype=object)
    meta |= {"features": {RULE: rules, REGION: names}, "feature_defaults": {RULE: NOT_TAKEN, REGION: NOT_TAKEN}}
    if parts or drawn:
        meta |= {"shape_type": "polygon"}
        meta["edge_color"] = [*(RULE_RGB[rule] for *_, rule in parts), *(NOT_TAKEN_RGB for _ in drawn)]
    return [*(ring for ring, *_ in parts), *drawn] or None, {**meta, **placing(scene.grids[0])}, "shapes"


def drawn_rings(layer: Any) -> list[Float64Array]:
    """The outlines that a layer of shapes shows, (n, 2) each; of an ellipse napari itself holds but the box around."""
    shapes = zip(layer.data, layer.shape_type, strict=True)
    return [ellipse_ring(corners) if kind == "ellipse" else np.asarray(corners) for corners, kind in shapes]


def selected_layer(scene: Scene) -> LayerData:
    """Marks of the selected cells."""
    meta = {"name": SELECTED, "border_color": "black", "border_width": 0.05, "opacity": 1.0, "ndim": 2}
    return np.zeros((0, 2)), {**meta, **placing(scene.grids[0])}, "points"


def selected_looks(scene: Scene, n: int) -> dict[str, Any]:
    """How ``n`` selected cells are marked: one by a square around it, which no outline is; several by a dot each."""
    mpp = scene.grids[0].mpp
    if n == 1:
        return {"symbol": "square", "face_color": "transparent", "size": SELECTED_UM / mpp}
    return {"symbol": "disc", "face_color": "white", "size": CENTRE_UM * 1.5 / mpp}


def slide_layers(slide: Slide, grids: tuple[SlideGrid, ...], *, name: str) -> list[LayerData]:
    """A slide without results."""
    rgb = slide_levels(slide, grids)
    meta = {"name": name, "rgb": True, "multiscale": len(rgb) > 1, **placing(grids[0])}
    meta["metadata"] = {"path": str(slide.path), "grid": grids[0]}
    return [(_one_or_all(rgb), meta, "image")]


def placing(grid: SlideGrid) -> dict[str, Any]:
    """How a layer in pixels of a grid lies in the world of um."""
    return {"scale": (grid.mpp, grid.mpp), "units": ("um", "um")}


def to_layer(points_px: Float64Array, grid: SlideGrid) -> Float64Array:
    """(n, 2) x, y in input pixels, counted from the centre of the first, as (n, 2) y, x in pixels of a grid."""
    down = np.array([grid.downsample_x, grid.downsample_y])
    return np.asarray((np.asarray(points_px, np.float64) + CENTRE) / down - CENTRE)[:, ::-1]


def from_layer(points: Float64Array, grid: SlideGrid) -> Float64Array:
    """The way back from `to_layer`."""
    down = np.array([grid.downsample_x, grid.downsample_y])
    return np.asarray((np.asarray(points, np.float64)[:, ::-1] + CENTRE) * down - CENTRE)


def look_at_cell(viewer: Any, scene: Scene, row: int) -> None:
    """Bring a cell into the middle, as large as at x200 or larger."""
    y, x = to_layer(scene.cells.centres_px[[row]], scene.grids[0])[0] * scene.grids[0].mpp
    camera = viewer.scene.camera
    camera.center, camera.zoom = (0, float(y), float(x)), max(camera.zoom, NEAR)


def look_at_region(viewer: Any, scene: Scene, key: tuple[str, str]) -> None:
    """Show all of a region, by its level and name."""
    grid = scene.grids[0]
    box = np.array(scene.regions.geometry(key).bounds).reshape(2, 2) - CENTRE
    (top, left), (bottom, right) = to_layer(box, grid) * grid.mpp
    viewer.scene.camera.center = (0, (top + bottom) / 2, (left + right) / 2)
    viewer.scene.camera.zoom = REGION_PX / max(bottom - top, right - left)


def fresh_centres(layer: Any, scene: Scene) -> None:
    """Show the centroids as the cells are now."""
    if len(layer.data) != len(scene.cells.kinds):
        layer.data = to_layer(scene.cells.centres_px, scene.grids[0])
    for name, value in centre_colours(scene).items():
        setattr(layer, name, value)


def fresh_dots(layer: Any, scene: Scene) -> None:
    """Show which immune cells are positive as the cells are now."""
    rows = _dotted_rows(scene)
    kinds = scene.cells.kinds[rows]
    is_same = np.array_equal(rows, layer.metadata[ROWS])
    if is_same and np.array_equal(kinds, layer.metadata[ROW_KINDS]):
        return
    if not is_same:
        layer.data = to_layer(scene.cells.centres_px[rows], scene.grids[0])
    layer.face_color = _dot_colours(scene, rows)
    layer.metadata.update({ROWS: rows, ROW_KINDS: kinds})


def fresh_heat(layer: Any, scene: Scene) -> None:
    """Show the map as the review is now."""
    layer.data = heat_map(scene.review).fine_steps(*layer.data.shape)


def centre_colours(scene: Scene) -> dict[str, Any]:
    """Colours of the centroids, and which are shown, as the cells are now."""
    kinds = scene.cells.kinds
    return {"face_color": colours.kind_colours()[np.maximum(kinds, 0)], "shown": kinds >= 0}


def _one_or_all(levels: list[LevelArray]) -> Any:
    return levels if len(levels) > 1 else levels[0]


def _stain_layers(rgb: list[LevelArray], scene: Scene, placed: dict[str, Any]) -> list[LayerData]:
    assert scene.estimate is not None
    shades = {"haematoxylin": (HAEMATOXYLIN, (0.10, 0.10, 0.45)), "dab": (DAB, (0.35, 0.16, 0.02))}
    layers: list[LayerData] = []
    for stain, (name, shade) in shades.items():
        levels = stain_levels(rgb, scene.estimate, stain=stain)
        meta = {"name": name, "colormap": colours.stain_colours(name, shade), "contrast_limits": OD_LIMITS}
        meta |= {"visible": False, "multiscale": len(levels) > 1, **placed}
        layers.append((_one_or_all(levels), meta, "image"))
    return layers


def _tissue_layer(scene: Scene) -> LayerData:
    assert scene.slide is not None
    assert scene.estimate is not None
    mask = tissue_mask(scene.slide, scene.estimate, scene.review).mask
    grid = scene.grids[0]
    sides = (grid.height * grid.mpp / mask.shape[0], grid.width * grid.mpp / mask.shape[1])
    meta = _coarse(sides, grid) | {"name": TISSUE, "colormap": colours.tissue_colours(), "opacity": 0.3}
    return mask.astype(np.uint8), meta, "labels"


def _artefact_layer(mask: BoolArray, scene: Scene) -> LayerData:
    meta = _coarse((ARTEFACT_UM, ARTEFACT_UM), scene.grids[0])
    meta |= {"name": ARTEFACTS, "colormap": colours.artefact_colours(), "opacity": 0.5}
    return mask.astype(np.uint8), meta, "labels"


def _heat_layer(scene: Scene) -> LayerData:
    heat = heat_map(scene.review)
    grid = scene.grids[0]
    sides = (heat.side_um / heat.parts, heat.side_um / heat.parts)
    meta = _coarse(sides, grid) | {"name": HEAT, "colormap": colours.heat_colours(), "opacity": 0.45}
    shape = [max(1, round(side * grid.mpp / sides[0])) for side in (grid.height, grid.width)]
    return heat.fine_steps(shape[0], shape[1]), meta, "labels"


def _coarse(sides_um: tuple[float, float], grid: SlideGrid) -> dict[str, Any]:
    """A hidden layer of large pixels whose first corner is that of the slide."""
    shift = [(side - grid.mpp) / 2 for side in sides_um]
    return {"scale": sides_um, "translate": shift, "units": ("um", "um"), "visible": False}


def _centre_layer(scene: Scene, placed: dict[str, Any]) -> LayerData:
    points = to_layer(scene.cells.centres_px, scene.grids[0])
    meta = {"name": CENTRES, "size": CENTRE_UM / scene.grids[0].mpp, "border_width": 0, **placed}
    meta |= {"visible": not scene.cells.has_outlines, **centre_colours(scene)}
    return points, meta, "points"


def _dot_layer(scene: Scene, placed: dict[str, Any]) -> LayerData:
    rows = _dotted_rows(scene)
    meta = {"name": DOTS, "size": CENTRE_UM / scene.grids[0].mpp, "border_width": 0.15, "border_color": "white"}
    meta |= {"face_color": _dot_colours(scene, rows), "ndim": 2, **placed}
    meta["metadata"] = {ROWS: rows, ROW_KINDS: scene.cells.kinds[rows]}
    return to_layer(scene.cells.centres_px[rows], scene.grids[0]), meta, "points"


def _dotted_rows(scene: Scene) -> IntpArray:
    return np.flatnonzero(np.isin(scene.cells.kinds, DOTTED))


def _dot_colours(scene: Scene, rows: IntpArray) -> Any:
    return colours.kind_colours()[scene.cells.kinds[rows]] if rows.size else "transparent"


def _drawn_layers(view: RegionView, grid: SlideGrid, placed: dict[str, Any]) -> list[LayerData]:
    """The regions as labels, of which the outline is seen, whatever their number; and their names.

    They say nothing of scores: a reader who is blind sees them, too.
    """
    kinds = [STYLES[each.kind].name for each in view.regions]
    names = [each.name for each in view.regions]
    features = pd.DataFrame({"index": view.labels, "region": names, "kind": kinds})
    levels = view.levels
    meta = {**placed, "name": DRAWN, "colormap": colours.region_colours(), "opacity": 1.0, "features": features}
    points, looks, kind = names_layer(run_names(view, grid), grid)
    return [
        (_one_or_all(levels), meta | {"multiscale": len(levels) > 1}, "labels"),
        (points, looks | {"visible": len(view.regions) <= MAX_NAMES}, kind),
    ]


def names_layer(names: Sequence[RegionName], grid: SlideGrid) -> LayerData:
    """Names of regions, of which nothing else is seen."""
    points, looks = name_layer(names)
    return points, {**placing(grid), "name": NAMES, **looks}, "points"


def named_regions(view: RegionView) -> list[int]:
    """Numbers of the regions of the run whose names are written: the largest, these first."""
    largest_first: list[int] = np.argsort([-each.geometry.area for each in view.regions], kind="stable").tolist()
    return largest_first[:MAX_NAMES]


def run_names(view: RegionView, grid: SlideGrid) -> list[RegionName]:
    """Their names and kinds; of a core, whose names are many and short, the name alone."""
    found = []
    for each in (view.regions[number] for number in named_regions(view)):
        style = STYLES[each.kind]
        text = each.name if each.kind == "core" else f"{each.name} ({style.name.lower()})"
        ink = "#{:02x}{:02x}{:02x}".format(*style.rgb)
        found.append(RegionName(text=text, ink=ink, outline=to_outline(each.geometry, grid)))
    return found


def to_outline(geometry: Any, grid: SlideGrid) -> Any:
    """An outline in input pixels, counted from the corner of the first, as x and y in pixels of a grid."""
    return shapely.transform(geometry, lambda points: to_layer(points - CENTRE, grid)[:, ::-1])
