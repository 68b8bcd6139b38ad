"""The plugin for napari: readers, sample data, review, scoring. All that knows a viewer is in here."""
