"""What some of the rendered fields show: settings for tissue that a network took wrongly, by name (`THEMES`).

Each takes the settings of a field and a source of chance, and gives other settings.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from pdl1quant.validation.phantoms import PhantomSettings


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
