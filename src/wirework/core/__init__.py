"""Ground floor: names, coded errors, strict configs, atomic files, reports, statistics."""

from wirework.core.config import Config as Config
from wirework.core.errors import WireworkError as WireworkError
from wirework.core.names import Edge as Edge
from wirework.core.names import Node as Node
from wirework.core.names import Site as Site
from wirework.core.report import Measure as Measure
from wirework.core.report import Report as Report
from wirework.core.run import RunRecord as RunRecord
