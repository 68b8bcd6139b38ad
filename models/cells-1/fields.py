"""Rendered fields as arrays to train on, and the pool of files that a second process fills.

A field is (S, S, 6) uint8 at the network's pixel size: R, G, B; depth in the nucleus and depth in the cell (1-255,
relative to the deepest point of that nucleus or cell; 0 outside); class of the nucleus.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pdl1quant.model import CellClass
from pdl1quant.validation.phantom_noise import smooth_noise
from pdl1quant.validation.phantom_optics import expose, unit
from pdl1quant.validation.phantoms import Phantom, PhantomSettings, random_settings, render_phantom

CLASS_NAMES = tuple(str(name) for name in CellClass)
BACKGROUND = 250
"""No nucleus."""
IGNORED = 251
"""A cell that nobody could judge: out of focus or under pigment."""
MAX_RENDERED_PX = 900
"""Larger fields would slow the renderer; finer pixels than that are not drawn at low magnification."""


def make_field(seed: int, settings: dict[str, Any]) -> np.ndarray:
    """One training field, (S, S, 6) uint8; ``settings`` is the section ``fields`` of the configuration."""
    rng = np.random.default_rng(seed)
    size, low, high = settings["size_px"], settings["min_scale"], settings["max_scale"]
    target_mpp = settings["mpp"] / float(np.exp(rng.uniform(np.log(low), np.log(high))))
    side_um = size * target_mpp
    mpp = max(float(rng.uniform(0.2, 0.6)), side_um / MAX_RENDERED_PX)
    tissue = random_settings(rng, size_px=round(side_um / mpp), mpp=mpp)
    shares = [settings[name] for name in THEMES]
    theme = rng.choice([*THEMES, ""], p=[*shares, 1 - sum(shares)])
    tissue = THEMES[theme](tissue, rng) if theme else dying(tissue, rng)
    tissue = cuffed(tissue, rng) if theme in CUFFED and rng.random() < settings["cuffed_share"] else tissue
    phantom = render_phantom(tissue, seed=int(rng.integers(2**31)))
    rgb = nuclear_stain(phantom, rng) if rng.random() < settings["nuclear_share"] else phantom.rgb
    how = cv2.INTER_AREA if rgb.shape[0] > size else cv2.INTER_CUBIC
    stretch = float(rng.uniform(1.0, settings["max_stretch"])) if rng.random() < settings["stretched_share"] else 1.0
    stretched = cv2.resize(rgb, (round(size * stretch), size), interpolation=how)[:, :size]
    field = pack(np.ascontiguousarray(stretched), phantom, size, stretch=stretch)
    return field if rng.random() < 0.5 else np.ascontiguousarray(field.swapaxes(0, 1))


def dark_glands(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue with glands all brown: nuclei are pale windows, veiled by brown, or are hardly seen."""
    slender = rng.random() < 0.6
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.4, 0.85)),
        gland_share=float(rng.choice([0.5, 1.0])),
        nest_um=float(rng.uniform(50, 200)),
        tps_pct=float(rng.choice([rng.uniform(75, 100), rng.uniform(25, 85)], p=[0.5, 0.5])),
        pattern=str(rng.choice(["both", "cytoplasm", "mixed"], p=[0.7, 0.1, 0.2])),
        dab_od=float(rng.uniform(0.4, 1.5)),
        tumour_blue=float(rng.uniform(0.25, 0.9)),
        bleed_through=float(rng.uniform(0.2, 1.0)),
        column_um=float(rng.uniform(22, 55) if slender else rng.uniform(14, 26)),
        column_width_um=float(rng.uniform(5, 8.5)),
        stratification=float(rng.uniform(0.4, 1.0)) if slender else 0.0,
        nest_spacing=float(rng.uniform(0.6, 0.85)),
    )


def drowned(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Glands so dark that hardly a nucleus shows: black walls, brown nuclei, holes of mucin."""
    mucous = rng.random() < 0.6
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.35, 0.8)),
        gland_share=float(rng.choice([0.5, 1.0], p=[0.3, 0.7])),
        nest_um=float(rng.uniform(40, 140)),
        tps_pct=float(rng.choice([100.0, rng.uniform(60, 100)], p=[0.4, 0.6])),
        patchiness=float(rng.uniform(0.5, 1.0)),
        pattern=str(rng.choice(["both", "mixed"], p=[0.8, 0.2])),
        partial_share=float(rng.uniform(0, 0.3)),
        basolateral=0.0,
        dab_od=float(rng.uniform(1.1, 2.8)),
        dab_spread=float(rng.uniform(0.1, 0.4)),
        bleed_through=float(rng.uniform(0.3, 1.0)),
        membrane_um=float(rng.uniform(0.6, 2.6)),
        membrane_contrast=float(rng.choice([1.0, rng.uniform(1, 3)])),
        veil=float(rng.choice([0.0, rng.uniform(0.1, 0.9)], p=[0.3, 0.7])),
        grain=float(rng.uniform(0.15, 0.55)),
        vacuole_share=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
        goblet_share=float(rng.uniform(0.3, 1.0) if mucous else 0.0),
        tumour_nucleus_um2=float(rng.uniform(20, 60)),
        tumour_blue=float(rng.uniform(0.2, 0.9)),
        column_um=float(rng.uniform(14, 40)),
        column_width_um=float(rng.uniform(5, 9)),
        stratification=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
        nest_spacing=float(rng.uniform(0.6, 0.85)),
        flare=float(rng.uniform(0.0, 0.01)),
    )


def inflamed(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue full of lymphocytes and macrophages, many of them brown, beside and inside the nests."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.1, 0.6)),
        lymphocyte_share=float(rng.uniform(0.5, 0.95)),
        macrophage_share=float(rng.uniform(0.05, 0.4)),
        intraepithelial_share=float(rng.uniform(0.05, 0.3)),
        positive_immune_share=float(rng.choice([rng.uniform(0.3, 1.0), rng.uniform(0.0, 0.3)], p=[0.7, 0.3])),
        tps_pct=float(rng.choice([tissue.tps_pct, rng.uniform(80, 100), 0.0], p=[0.4, 0.2, 0.4])),
        haematoxylin_od=float(rng.choice([tissue.haematoxylin_od, rng.uniform(0.7, 1.4)], p=[0.7, 0.3])),
        stroma_spacing=float(rng.uniform(0.85, 1.6)),
        crowding_blue=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
    )


def netted(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue with nests and glands in a net of membranes far darker than the pale nuclei between them."""
    slender, mucous = rng.random() < 0.5, rng.random() < 0.4
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.35, 0.9)),
        gland_share=float(1.0 if mucous else rng.choice([0.0, 0.5, 1.0])),
        goblet_share=float(rng.uniform(0.3, 1.0) if mucous else 0.0),
        tumour_nucleus_um2=float(rng.uniform(18, 45) if mucous else tissue.tumour_nucleus_um2),
        nest_um=float(rng.uniform(40, 200)),
        tps_pct=float(rng.choice([rng.uniform(70, 100), rng.uniform(20, 80)], p=[0.45, 0.55])),
        pattern=str(rng.choice(["membrane", "mixed"], p=[0.8, 0.2])),
        partial_share=float(rng.uniform(0, 0.4)),
        membrane_um=float(rng.uniform(0.6, 2.4)),
        dab_od=float(rng.uniform(0.6, 2.3)),
        diffusion=float(rng.uniform(0.0, 0.25)),
        tumour_blue=float(rng.uniform(0.2, 0.8)),
        nest_spacing=float(rng.uniform(0.6, 0.9)),
        column_um=float(rng.uniform(18, 45) if slender else rng.uniform(12, 24)),
        column_width_um=float(rng.uniform(4.5, 8)),
        stratification=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
    )


def lymphoid(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Lymphocytes and plasma cells as far as one sees, many brown all over, hardly a tumour cell; often with fat."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.choice([0.0, rng.uniform(0.0, 0.2)], p=[0.7, 0.3])),
        single_cell_share=float(rng.choice([0.0, rng.uniform(0.0, 0.03)], p=[0.8, 0.2])),
        lymphocyte_share=float(rng.uniform(0.75, 0.99)),
        pale_lymphocyte_share=float(rng.uniform(0, 0.8)),
        macrophage_share=float(rng.uniform(0.0, 0.3)),
        plasma_share=float(rng.choice([0.02, rng.uniform(0.05, 0.6)])),
        positive_immune_share=float(rng.uniform(0.0, 1.0)),
        pattern=str(rng.choice(["both", "mixed", "cytoplasm"])),
        dab_od=float(rng.uniform(0.3, 1.6)),
        stroma_spacing=float(rng.uniform(0.8, 1.3)),
        haematoxylin_od=float(rng.uniform(0.25, 1.3)),
        crowding_blue=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.4, 0.6])),
        fat_share=float(rng.choice([0.0, rng.uniform(0.1, 0.6)])),
        glass_share=float(rng.uniform(0.0, 0.2)),
    )


def smudged(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue, pale and low in contrast, with faint lymphocytes and macrophages crowding around the nests."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.1, 0.7)),
        lymphocyte_share=float(rng.uniform(0.3, 0.9)),
        pale_lymphocyte_share=float(rng.uniform(0.6, 1.0)),
        macrophage_share=float(rng.uniform(0.1, 0.6)),
        intraepithelial_share=float(rng.uniform(0.0, 0.2)),
        stroma_spacing=float(rng.uniform(0.85, 1.4)),
        crowding_blue=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
        haematoxylin_od=float(rng.uniform(0.2, 0.45)),
        background_od=float(rng.uniform(0.04, 0.12)),
        cell_defocus=float(rng.uniform(0.5, 1.0)),
        shadows_mm2=float(rng.uniform(300, 2500)),
        blur_px=tissue.blur_px + float(rng.uniform(0.0, 0.9)),
    )


def unstained(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Pale tissue with hardly a brown tumour cell, and immune cells of a brown that catches the eye."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.25, 0.8)),
        tps_pct=float(rng.choice([0.0, rng.uniform(0, 10)])),
        pattern=str(rng.choice(["both", "membrane", "mixed"])),
        dab_od=float(rng.uniform(0.4, 1.6)),
        positive_immune_share=float(rng.uniform(0.2, 1.0)),
        intraepithelial_share=float(rng.uniform(0.0, 0.2)),
        lymphocyte_share=float(rng.uniform(0.1, 0.7)),
        macrophage_share=float(rng.uniform(0.05, 0.4)),
        haematoxylin_od=float(rng.uniform(0.2, 0.55)),
        background_od=float(rng.uniform(0.04, 0.13)),
        tumour_nucleus_um2=float(min(rng.uniform(45, 110), 0.5 * tissue.tumour_cell_um**2)),
        tumour_blue=float(rng.uniform(0.6, 1.1)),
        nest_spacing=float(rng.uniform(0.6, 1.1)),
        nest_um=float(rng.uniform(40, 250)),
        gland_share=float(rng.choice([0.0, 0.5, 1.0], p=[0.3, 0.3, 0.4])),
        column_um=float(rng.uniform(20, 55)),
        column_width_um=float(rng.uniform(5, 8.5)),
        stratification=float(rng.uniform(0.0, 1.0)),
        tumour_stretch=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
        chromatin=float(rng.uniform(0.1, 1.2)),
    )


def palisades(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue with tall, slim brown cells side by side, darkest where they touch; nuclei are pale slots."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.5, 0.9)),
        gland_share=1.0,
        papillary=bool(rng.random() < 0.15),
        nest_um=float(rng.uniform(80, 300)),
        tps_pct=float(rng.choice([100.0, rng.uniform(80, 100), rng.uniform(30, 90)], p=[0.4, 0.3, 0.3])),
        pattern=str(rng.choice(["both", "membrane"], p=[0.75, 0.25])),
        partial_share=float(rng.choice([0.0, rng.uniform(0, 0.3)])),
        basolateral=0.0,
        dab_od=float(rng.uniform(0.6, 2.0)),
        dab_spread=float(rng.uniform(0.03, 0.25)),
        grain=float(rng.uniform(0.1, 0.35)),
        membrane_um=float(rng.uniform(0.4, 1.5)),
        membrane_contrast=float(rng.uniform(1, 4)),
        veil=float(rng.uniform(0.0, 0.6)),
        bleed_through=float(rng.uniform(0.0, 0.6)),
        vacuole_share=float(rng.choice([0.0, rng.uniform(0, 0.4)])),
        tumour_blue=float(rng.uniform(0.3, 0.9)),
        chromatin=float(rng.uniform(0.1, 1.2)),
        tumour_nucleus_um2=float(rng.uniform(22, 55)),
        column_um=float(rng.uniform(22, 58)),
        column_width_um=float(rng.uniform(4.2, 7.5)),
        stratification=float(rng.uniform(0.1, 1.0)),
        goblet_share=float(rng.choice([0.0, rng.uniform(0, 0.4)], p=[0.7, 0.3])),
        nest_spacing=float(rng.uniform(0.6, 0.85)),
    )


def reactive(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Stroma whose fibroblasts, endothelium and macrophages are as large and pale as tumour, beside nests or alone."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.choice([0.0, rng.uniform(0.05, 0.6)], p=[0.3, 0.7])),
        single_cell_share=0.0,
        stroma_swell=float(rng.uniform(1.3, 2.8)),
        macrophage_swell=float(rng.uniform(1.0, 2.5)),
        macrophage_share=float(rng.uniform(0.05, 0.6)),
        lymphocyte_share=float(rng.uniform(0.0, 0.7)),
        plasma_share=float(rng.choice([0.03, rng.uniform(0.05, 0.4)])),
        intraepithelial_share=float(rng.uniform(0.0, 0.15)),
        positive_immune_share=float(rng.choice([0.0, rng.uniform(0.0, 1.0)], p=[0.3, 0.7])),
        stroma_spacing=float(rng.uniform(1.1, 2.1)),
        vessel_share=float(rng.uniform(0.0, 0.06)),
        haematoxylin_od=float(rng.uniform(0.25, 0.8)),
        tumour_nucleus_um2=float(min(rng.uniform(35, 105), 0.5 * tissue.tumour_cell_um**2)),
        glass_share=float(rng.uniform(0.0, 0.2)),
    )


def sheets(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Pale solid tumour: large nuclei in pale cytoplasm, some cut off centre, some drawn out in one direction."""
    tall = rng.random() < 0.3
    cell_um = float(rng.uniform(9.5, 16))
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.4, 0.92)),
        gland_share=1.0 if tall else 0.0,
        nest_um=float(rng.uniform(90, 400)),
        septum_um=float(rng.choice([0.0, rng.uniform(2, 20)])),
        tps_pct=float(rng.choice([0.0, rng.uniform(0, 15), rng.uniform(15, 100)], p=[0.4, 0.25, 0.35])),
        haematoxylin_od=float(rng.uniform(0.25, 0.6)),
        background_od=float(rng.uniform(0.02, 0.08)),
        chromatin=float(rng.uniform(0.2, 1.2)),
        tumour_cell_um=cell_um,
        tumour_nucleus_um2=float(min(rng.uniform(35, 130), 0.55 * cell_um**2)),
        tumour_blue=float(rng.uniform(0.7, 1.1)),
        nest_spacing=float(rng.uniform(0.65, 1.0)),
        tumour_stretch=float(rng.choice([0.0, rng.uniform(0.2, 1.2)], p=[0.4, 0.6])),
        cap_share=float(rng.uniform(0.0, 0.35)),
        cell_defocus=float(rng.uniform(0.1, 0.6)),
        column_um=float(rng.uniform(30, 60)),
        column_width_um=float(rng.uniform(6, 9)),
        stratification=float(rng.uniform(0.5, 1.0)),
        lymphocyte_share=float(rng.uniform(0.05, 0.8)),
        macrophage_share=float(rng.uniform(0.02, 0.3)),
        positive_immune_share=float(rng.choice([0.0, rng.uniform(0.0, 1.0)], p=[0.4, 0.6])),
        intraepithelial_share=float(rng.uniform(0.0, 0.15)),
        apoptotic_share=float(rng.uniform(0.0, 0.06)),
    )


def strewn(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Tumour in single cells and small clusters among immune cells as large as they come, many of them brown."""
    cell_um = float(rng.uniform(11, 19))
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.04, 0.4)),
        gland_share=0.0,
        papillary=False,
        nest_um=float(rng.uniform(12, 60)),
        septum_um=float(rng.uniform(2, 15)),
        single_cell_share=float(rng.uniform(0.03, 0.25)),
        tps_pct=float(rng.choice([0.0, rng.uniform(0, 10), rng.uniform(10, 100)], p=[0.3, 0.2, 0.5])),
        tumour_cell_um=cell_um,
        tumour_nucleus_um2=float(min(rng.uniform(45, 130), 0.5 * cell_um**2)),
        tumour_blue=float(rng.uniform(0.7, 1.2)),
        nucleolus_share=float(rng.uniform(0.1, 0.9)),
        haematoxylin_od=float(rng.uniform(0.25, 0.9)),
        background_od=float(rng.uniform(0.02, 0.1)),
        stroma_spacing=float(rng.uniform(0.85, 1.5)),
        lymphocyte_share=float(rng.uniform(0.3, 0.9)),
        pale_lymphocyte_share=float(rng.uniform(0.0, 0.8)),
        macrophage_share=float(rng.uniform(0.03, 0.4)),
        positive_immune_share=float(rng.choice([0.0, rng.uniform(0.0, 1.0)], p=[0.25, 0.75])),
        intraepithelial_share=float(rng.uniform(0.0, 0.2)),
        cell_defocus=float(rng.uniform(0.1, 0.7)),
    )


def lung(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """Lung beside tumour or alone: thin walls, pneumocytes, macrophages and red cells in the air spaces.

    In some fields tumour grows along the walls in place of pneumocytes: what tells is how large and crowded cells are.
    """
    lepidic, cell_um = bool(rng.random() < 0.3), float(rng.uniform(11, 18))
    return dataclasses.replace(
        tissue,
        lung_share=float(rng.uniform(0.3, 1.0)),
        alveolus_um=float(rng.uniform(40, 200)),
        alveolar_wall_um=float(rng.uniform(4, 25)),
        lepidic=lepidic,
        pneumocyte_share=float(rng.uniform(0.6, 1.0) if lepidic else rng.uniform(0.05, 0.8)),
        tumour_cell_um=cell_um if lepidic else tissue.tumour_cell_um,
        tumour_nucleus_um2=float(min(rng.uniform(45, 110), 0.5 * cell_um**2) if lepidic else tissue.tumour_nucleus_um2),
        free_macrophage_share=float(rng.choice([0.0, rng.uniform(0.1, 1.0)], p=[0.3, 0.7])),
        bleeding_share=float(rng.choice([0.0, rng.uniform(0.0, 1.0)], p=[0.6, 0.4])),
        tumour_share=float(rng.choice([0.0, rng.uniform(0.0, 0.5)], p=[0.4, 0.6])),
        single_cell_share=0.0,
        papillary=False,
        glass_share=0.0,
        fat_share=0.0,
        macrophage_swell=float(rng.uniform(0.8, 2.2)),
        positive_immune_share=float(rng.choice([0.0, rng.uniform(0.0, 1.0)], p=[0.3, 0.7])),
        stroma_spacing=float(rng.uniform(1.0, 1.8)),
    )


def dying(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue, in some fields with many apoptotic bodies."""
    return dataclasses.replace(
        tissue, apoptotic_share=float(rng.choice([tissue.apoptotic_share, rng.uniform(0.04, 0.12)], p=[0.7, 0.3]))
    )


def cuffed(tissue: PhantomSettings, rng: np.random.Generator) -> PhantomSettings:
    """The same tissue with dark lymphocytes crowding right beside its brown glands, touching and overlapping."""
    return dataclasses.replace(
        tissue,
        tumour_share=float(rng.uniform(0.15, 0.55)),
        lymphocyte_share=float(rng.uniform(0.6, 0.97)),
        pale_lymphocyte_share=float(rng.uniform(0.0, 0.6)),
        macrophage_share=float(rng.uniform(0.0, 0.15)),
        plasma_share=float(rng.choice([0.02, rng.uniform(0.05, 0.4)])),
        positive_immune_share=float(rng.choice([0.0, rng.uniform(0.0, 0.3)], p=[0.7, 0.3])),
        single_cell_share=0.0,
        stroma_spacing=float(rng.uniform(0.8, 1.25)),
        haematoxylin_od=float(rng.uniform(0.5, 1.3)),
        crowding_blue=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.3, 0.7])),
        background_od=float(rng.uniform(0.03, 0.12)),
    )


THEMES = {
    each.__name__: each
    for each in (
        dark_glands,
        drowned,
        netted,
        inflamed,
        lymphoid,
        smudged,
        unstained,
        palisades,
        reactive,
        sheets,
        strewn,
        lung,
    )
}
"""What some of the fields show; their shares are in the configuration, by these names."""
CUFFED = ("dark_glands", "drowned", "netted", "palisades")
"""Themes some of whose fields are `cuffed`."""


def nuclear_stain(phantom: Phantom, rng: np.random.Generator) -> np.ndarray:
    """The same tissue stained for a marker of nuclei, as Ki-67 is: RGB (H, W, 3) uint8."""
    settings = dataclasses.replace(phantom.settings, flare=0.0)
    n, size = len(phantom.cells), settings.size_px
    level = rng.uniform(0.12, 1.2) * np.exp(rng.normal(0, rng.uniform(0.1, 0.6), n))
    level *= rng.random(n) < rng.uniform(0, 1)
    fine, clumps = (smooth_noise(rng, size, um / settings.mpp) for um in (0.9, 2.0))
    texture = np.clip(1 + rng.uniform(0.05, 0.4) * fine + rng.uniform(0, 0.45) * clumps, 0.1, 3)
    around = phantom.od.dab * rng.choice([0.0, rng.uniform(0, 0.4)]) + rng.choice([0.0, rng.uniform(0, 0.05)])
    dab = np.where(phantom.nucleus > 0, np.concatenate([[0.0], level])[phantom.nucleus] * texture, around)
    blue = np.where(phantom.nucleus > 0, rng.uniform(0.3, 1.0) ** (dab > 0.1), 1.0) * phantom.od.haematoxylin
    mixed = blue[:, :, None] * unit(settings.haematoxylin) + dab[:, :, None] * unit(settings.dab)
    lost = np.concatenate([[0.0], rng.random(n) ** 2 * settings.cell_defocus])[phantom.cell].astype(np.float32)
    lost = cv2.GaussianBlur(lost, (0, 0), 2.0 / settings.mpp)
    return expose(mixed.astype(np.float32), settings, rng, defocus=lost, fold=np.zeros_like(lost))


def pack(rgb: np.ndarray, phantom: Phantom, size: int, *, stretch: float = 1.0) -> np.ndarray:
    """Image and targets in one array; ``rgb`` has the wanted size, and is stretched along its rows, already."""
    nucleus, cell = (to_grid(labels, size, stretch=stretch) for labels in (phantom.nucleus, phantom.cell))
    table = phantom.cells
    code = np.concatenate([[BACKGROUND], table["cell_class"].cat.codes.to_numpy()]).astype(np.uint8)
    code[1:][(table["out_of_focus"] | table["pigmented"]).to_numpy()] = IGNORED
    depths = [relative_depth(labels) for labels in (nucleus, cell)]
    return np.dstack([rgb, *depths, code[nucleus]])


def to_grid(labels: np.ndarray, size: int, *, stretch: float = 1.0) -> np.ndarray:
    """Labels by nearest neighbour on a square grid over the same area, or over the part that a stretch leaves."""
    last = labels.shape[0] - 1
    down, across = (
        np.minimum(((np.arange(size) + 0.5) * labels.shape[0] / (size * each)).astype(int), last)
        for each in (1.0, stretch)
    )
    return labels[down[:, None], across]


def relative_depth(labels: np.ndarray) -> np.ndarray:
    """Distance to the edge of each label over its maximum, as uint8 1-255; 0 outside. The field's edge is none."""
    border = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    distance = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5) + np.float32(0.5)
    deepest = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    share = distance / np.maximum(deepest[labels], 1)
    return np.where(labels > 0, np.clip(np.rint(255 * share), 1, 255), 0).astype(np.uint8)


def fill_pool(folder: str, settings: dict[str, Any], seed: int, first: int) -> None:
    """Write fields ``first``, ``first + 1``, ... until the pool is full, or the parent process ends."""
    cv2.setNumThreads(1)
    os.nice(10)
    parent, number = os.getppid(), first
    while os.getppid() == parent and number < settings["pool"]:
        place = Path(folder) / f"{number:05d}.npy"
        partial = place.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, make_field(seed + number, settings))
        partial.replace(place)
        count = Path(folder) / "count.part"
        count.write_text(str(number + 1), encoding="utf-8")
        count.replace(count.with_suffix(".txt"))
        number += 1
    sys.exit(0)
