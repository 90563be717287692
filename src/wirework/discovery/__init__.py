"""Finding circuits: gate training, discretisation, calibration, extraction."""

from wirework.discovery.alternatives import Alternatives as Alternatives
from wirework.discovery.alternatives import alternatives as alternatives
from wirework.discovery.config import DiscoveryConfig as DiscoveryConfig
from wirework.discovery.discover import Search as Search
from wirework.discovery.discover import discover as discover
from wirework.discovery.discover import search as search
from wirework.discovery.take_circuit import take_circuit as take_circuit
