"""The torch-free forward pass over compressed weights, in float32 or float64."""

from wirework.engine.abstopk import keep_largest as keep_largest
from wirework.engine.check import check_network as check_network
from wirework.engine.decode import Decoder as Decoder
from wirework.engine.forward import Replace as Replace
from wirework.engine.forward import Trace as Trace
from wirework.engine.forward import forward as forward
from wirework.engine.generate import generate as generate
from wirework.engine.generate import stream as stream
from wirework.engine.memory import Memory as Memory
from wirework.engine.memory import memory as memory
from wirework.engine.network import Layer as Layer
from wirework.engine.network import Network as Network
from wirework.engine.network import SiteGate as SiteGate
from wirework.engine.sparse import SparseMatrix as SparseMatrix
