"""The models that the states use, and what is kept of their answers. Nothing is downloaded that the recipe does not name."""
