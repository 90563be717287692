"""Models made by hand whose circuits are known, with their tasks and their truth."""

from wirework.planted.active import active_nodes as active_nodes
from wirework.planted.draft import Draft as Draft
from wirework.planted.draft import Planted as Planted
from wirework.planted.letters import copy_previous as copy_previous
from wirework.planted.quotes import close_quote as close_quote
from wirework.planted.quotes import quote_with_decoys as quote_with_decoys
from wirework.planted.quotes import twin_values as twin_values
from wirework.planted.truth import minimal_circuits as minimal_circuits
