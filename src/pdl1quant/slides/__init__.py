"""Readers of images and slides."""
