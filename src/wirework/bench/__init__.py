"""Side-by-side ratios: our training step, decoding and files beside dense and plain ones."""

from wirework.bench.decode import DecodeBench as DecodeBench
from wirework.bench.decode import bench_decode as bench_decode
from wirework.bench.load import LoadBench as LoadBench
from wirework.bench.load import bench_load as bench_load
from wirework.bench.train import TrainBench as TrainBench
from wirework.bench.train import bench_train as bench_train
