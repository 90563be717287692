"""One HTML file for one circuit: its drawing, its activations token by token, its figures."""

from wirework.viewer.page import export_page as export_page
from wirework.viewer.page import render_page as render_page
from wirework.viewer.page import view as view
