"""Tokenizer, corpora as memory-mapped token shards, resumable batches, n-gram counts."""

from wirework.data.batches import Batches as Batches
from wirework.data.corpus import Corpus as Corpus
from wirework.data.corpus import prepare_corpus as prepare_corpus
from wirework.data.documents import CorpusConfig as CorpusConfig
from wirework.data.documents import Document as Document
from wirework.data.documents import Skipped as Skipped
from wirework.data.ngrams import NGramModel as NGramModel
from wirework.data.sources import read_documents as read_documents
from wirework.data.tokenizer import END_OF_TEXT as END_OF_TEXT
from wirework.data.tokenizer import Tokenizer as Tokenizer
