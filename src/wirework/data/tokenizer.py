"""Byte-level BPE: trained here with the published split pattern, or loaded from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from wirework.core.errors import WireworkError
from wirework.core.files import write_text

END_OF_TEXT = "<|endoftext|>"

SPLIT_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where text is cut before merging (weight_sparse_paper.md §1.5): no token crosses a cut."""

SMALLEST_VOCABULARY = 257
"""256 bytes and end-of-text."""


class Tokenizer:
    """Text to ids and back; `decode(encode(text)) == text` for a tokenizer trained here.

    The ids are 0 … `vocab_size` - 1. The name of a special token inside a text
    is ordinary text: it is never encoded as the special id.
    """

    def __init__(self, text: str) -> None:
        """From the JSON of a `tokenizers` file. Raises `tokenizer-damaged`, `tokenizer-foreign`."""
        plain = _parse(text)
        self._json = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        try:
            self._backend = Backend.from_str(self._json)
        except Exception as error:  # the library raises nothing more precise
            raise _damaged(str(error)) from error
        self._backend.encode_special_tokens = True
        self._backend.no_padding()
        self._backend.no_truncation()
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        self._special = {vocabulary[t["content"]] for t in plain["added_tokens"] if t["special"]}
        self._bytes = _token_bytes(plain, vocabulary)
        self.vocab_size = len(self._bytes)
        self.end_of_text = vocabulary[END_OF_TEXT]

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 2048) -> Tokenizer:
        """Merge the commonest pairs until there are `vocab_size` ids, end-of-text being the last.

        Short texts may hold too few pairs: the vocabulary is then smaller. Equal texts in equal
        order give an equal tokenizer. Raises `vocab-too-small`.
        """
        if vocab_size < SMALLEST_VOCABULARY:
            raise WireworkError(
                "vocab-too-small",
                "a byte-level vocabulary holds every byte and end-of-text",
                expected=f"vocab_size >= {SMALLEST_VOCABULARY}",
                got=str(vocab_size),
                hint="2048",
            )
        backend = _backend(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return cls(_with_end_of_text(backend))

    @classmethod
    def from_merges(
        cls, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]
    ) -> Tokenizer:
        """From pieces (in byte characters) with their ids and from merges, the first one first.

        End-of-text gets the next free id. Raises `tokenizer-damaged`, `tokenizer-foreign`.
        """
        try:
            backend = _backend(models.BPE(vocab=dict(vocabulary), merges=list(merges)))
        except Exception as error:  # the library raises nothing more precise
            raise _damaged(str(error)) from error
        return cls(_with_end_of_text(backend))

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        return cls(text)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a `tokenizer.json`. Raises `tokenizer-missing`, and those of `from_json`."""
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError):
            raise WireworkError(
                "tokenizer-missing",
                f"there is no tokenizer at {path}",
                expected="a tokenizer.json file",
                got=str(path),
            ) from None
        except UnicodeDecodeError as error:
            raise _damaged(f"{path}: {error}") from error

    def to_json(self) -> str:
        """Canonical: keys sorted, no spaces; does not depend on the library's version."""
        return self._json

    def save(self, path: Path) -> None:
        write_text(path, self._json)

    def hash(self) -> str:
        """sha256 of `to_json()`."""
        return hashlib.sha256(self._json.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Raises `text-not-unicode` for half of a surrogate pair."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode on all cores. Raises `text-not-unicode`."""
        try:
            found = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:  # what the library makes of text that is not Unicode
            _require_unicode(texts)
            raise
        return [encoding.ids for encoding in found]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; special ids show their name, broken UTF-8 shows as U+FFFD.

        Raises `token-unknown`.
        """
        return b"".join(self._shown(token) for token in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes that an id stands for; none for special ids. Raises `token-unknown`."""
        self._check(token)
        return b"" if token in self._special else self._bytes[token]

    def token_text(self, token: int) -> str:
        """For display: a token that holds part of a character shows U+FFFD."""
        return self._shown(token).decode("utf-8", errors="replace")

    def _shown(self, token: int) -> bytes:
        self._check(token)
        return self._bytes[token]

    def _check(self, token: int) -> None:
        if not 0 <= token < self.vocab_size:
            raise WireworkError(
                "token-unknown",
                f"there is no token {token}",
                expected=f"0 to {self.vocab_size - 1}",
                got=str(token),
            )


def _backend(model: models.BPE) -> Backend:
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _with_end_of_text(backend: Backend) -> str:
    """Its JSON. End-of-text is added after everything else, so that its id is the last one."""
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    text: str = backend.to_str()
    return text


def _parse(text: str) -> dict[str, Any]:
    """The file as plain values, refused where it is not byte-level BPE with end-of-text."""
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise _damaged(str(error)) from None
    try:
        kind, decoder = plain["model"]["type"], plain["decoder"]["type"]
        dropout = plain["model"].get("dropout")
        special = {token["content"] for token in plain["added_tokens"] if token["special"]}
    except (KeyError, TypeError, AttributeError):
        raise _damaged("no model, decoder or added tokens in it") from None
    if kind != "BPE" or decoder != "ByteLevel":
        raise _foreign(f"a {kind} model with a {decoder} decoder")
    if dropout:
        raise _foreign(f"dropout {dropout}: it would encode one text in several ways")
    if END_OF_TEXT not in special:
        raise _foreign(f"no special token {END_OF_TEXT}")
    assert isinstance(plain, dict)
    return plain


def _token_bytes(plain: dict[str, Any], vocabulary: dict[str, int]) -> list[bytes]:
    """The bytes of every id (of special ids their name)."""
    added = {token["content"]: token["id"] for token in plain["added_tokens"]}
    # The library numbers added tokens itself and does not say so.
    if moved := [piece for piece, token in added.items() if vocabulary[piece] != token]:
        raise _foreign(
            f"added token {moved[0]!r} whose id {added[moved[0]]} is not the next free one"
        )
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise _foreign("ids with gaps between them")
    byte_of = {character: byte for byte, character in enumerate(_byte_characters())}
    if missing := [byte for character, byte in byte_of.items() if character not in vocabulary]:
        raise _foreign(f"no token for {len(missing)} of the 256 bytes, such as {missing[0]}")
    found = [b""] * len(vocabulary)
    for piece, token in vocabulary.items():
        if piece in added:
            found[token] = piece.encode()
        elif all(character in byte_of for character in piece):
            found[token] = bytes(byte_of[character] for character in piece)
        else:
            raise _foreign(f"token {token} ({piece!r}) that stands for no bytes")
    return found


def _require_unicode(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise WireworkError(
                "text-not-unicode",
                "a text holds half of a surrogate pair, which no encoding can write",
                expected="text that can be written as UTF-8",
                got=str(error),
            ) from None


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level vocabularies."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    found, spare = [], 0x100
    for byte in range(256):
        if byte in printable:
            found.append(chr(byte))
        else:
            found.append(chr(spare))
            spare += 1
    return found


def _damaged(reason: str) -> WireworkError:
    return WireworkError(
        "tokenizer-damaged",
        "the tokenizer cannot be read",
        expected="the JSON of the tokenizers library",
        got=reason,
    )


def _foreign(got: str) -> WireworkError:
    return WireworkError(
        "tokenizer-foreign",
        "this tokenizer cannot be used",
        expected=f"byte-level BPE with every byte and {END_OF_TEXT}",
        got=got,
    )
