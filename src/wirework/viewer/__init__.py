"""Circuits to look at and to touch: one HTML file, a page served here, a cell of a notebook."""

from wirework.viewer.gallery import export_gallery as export_gallery
from wirework.viewer.notebook import show as show
from wirework.viewer.page import export_page as export_page
from wirework.viewer.page import render_page as render_page
from wirework.viewer.page import view as view
