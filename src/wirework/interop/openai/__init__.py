"""OpenAI's published models: `beeg_config.json` and `final_model.pt`, read and written.

What is known of the format: weight_sparse_paper.md §1.2, §1.3, circuit_tools.md §4.5.
"""

from wirework.interop.openai.parity import Parity as Parity
from wirework.interop.openai.parity import parity as parity
from wirework.interop.openai.reading import RECORD as RECORD
from wirework.interop.openai.reading import read as read
from wirework.interop.openai.reading import read_model as read_model
from wirework.interop.openai.writing import write as write
