"""Whole slides: surveyed once at low resolution, measured tile by tile, judged in bands, scored as one.

The pixels of a cell are measured in the one tile that owns it; all that looks at other cells (who lies around, what a
cell is, whose membrane is brown) waits until a band of the slide is complete. So nothing depends on the tiles.
"""
