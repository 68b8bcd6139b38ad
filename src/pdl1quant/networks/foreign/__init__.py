"""Other people's libraries as segmenters: each module loads a model that the user has, and nothing is downloaded."""
