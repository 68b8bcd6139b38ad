"""Loops over pixels, compiled by numba on first use: plain arrays in, plain arrays out, nothing known of cells.

They are here and nowhere else. Whoever calls one checks the input: kernels check nothing.
"""
