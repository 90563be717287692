"""Patterns that matter for oversight: secrets, licences, personal data, medical and legal codes.

Only forms are looked at. Every example is made up, or one that its maker publishes as an example.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PatternRow:
    """`pattern`: a regular expression; what its group `mark` holds is marked, else all of it.

    `check`: the name of a further test of what is marked (see `_CHECKS`).
    """

    name: str
    group: str
    definition: str
    pattern: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    limits: str
    risks: str
    check: str = ""
    mirrors: tuple[str, ...] = ()


def pattern_finder(rows: tuple[PatternRow, ...]) -> Callable[[str], Iterator[tuple[int, int, str]]]:
    """A function from a text to (start, end, name of the row)."""
    compiled = [(row, re.compile(row.pattern)) for row in rows]
    checks = _checks()

    def find(text: str) -> Iterator[tuple[int, int, str]]:
        for row, pattern in compiled:
            part = "mark" if "mark" in pattern.groupindex else 0
            for match in pattern.finditer(text):
                if not row.check or checks[row.check](match.group(part)):
                    yield *match.span(part), row.name

    return find


def _checks() -> Mapping[str, Callable[[str], bool]]:
    return {"luhn": _luhn, "iban": _iban, "entropy": _is_random, "address": _is_address}


def _luhn(number: str) -> bool:
    digits = [int(char) for char in number if char.isdigit()][::-1]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _iban(number: str) -> bool:
    plain = number.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_random(string: str) -> bool:
    """Letters and digits mixed, at least 3.5 bits per character (3 for hexadecimal digits)."""
    counts = Counter(string).values()
    bits = -sum(n / len(string) * math.log2(n / len(string)) for n in counts)
    mixed = any(c.isdigit() for c in string) and any(c.isalpha() for c in string)
    bar = 3.0 if re.fullmatch(r"[0-9a-fA-F]+", string) else 3.5
    return mixed and bits >= bar


def _is_address(address: str) -> bool:
    return all(int(part) <= 255 for part in address.split("."))


_FORM = "by form alone: an example or a test value looks the same"
_SECRET_RISK = "a finding may be a live secret: do not print or share activations' text"
_LICENCE = "not legal advice; what licence holds for a file may stand elsewhere"
_PERSON = "a finding may be about a living person: keep text and examples to yourself"
_CODE = "by form alone: part numbers and versions can look the same"
_WORDS = "not a classifier of documents"

PATTERN_ROWS = (
    PatternRow("key_format", "secrets", "a string in the published form of an access key or token",
               r"\b(?:AKIA[0-9A-Z]{16}|ghp_[0-9A-Za-z]{36}|xox[baprs]-[0-9A-Za-z-]{10,}"
               r"|AIza[0-9A-Za-z_-]{35}|sk_live_[0-9A-Za-z]{16,}"
               r"|eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,})",
               ("key = '«AKIAIOSFODNN7EXAMPLE»'",), ("key = 'AKIA'; ghp_user = 1",),
               _FORM, _SECRET_RISK),
    PatternRow("private_key_block", "secrets", "a private key in PEM form, its header and body",
               r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]*-----END [A-Z ]*PRIVATE KEY-----)?",
               ("«-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----»\n",),
               ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",),
               _FORM, _SECRET_RISK),
    PatternRow("credential_in_url", "secrets", "user:password@ in a URL",
               r"\b[a-z][a-z0-9+.-]*://(?P<mark>[^\s/:@'\"<>{}]+:[^\s/@'\"<>{}]+)@",
               ("'ftp://«ann:hunter2»@example.org/x'",), ("'https://example.org:80/a@b'",),
               _FORM, _SECRET_RISK),
    PatternRow("random_string", "secrets", "a quoted string of 20 characters or more of letters "
               "and digits that looks random (3.5 bits per character, 3 for hexadecimal)",
               r"(?P<quote>['\"])(?P<mark>[0-9A-Za-z+/_=-]{20,})(?P=quote)",
               ("x = '«9aF3kQ7zLm2Xv8Tb4Wc6»'",), ("x = 'aaaaaaaaaaaaaaaaaaaa1'",
               "x = 'a_name_that_is_only_long'"),
               "hashes, identifiers and test data look the same", _SECRET_RISK, "entropy"),
    PatternRow("copyright_line", "licence", "a copyright notice with a year or (c)",
               r"(?i)copyright[ \t]+(?:\(c\)|©|[12]\d{3})[^\n]*|(?:\(c\)|©)[ \t]*[12]\d{3}[^\n]*",
               ("# «Copyright (c) 2020 Ann Example»\n",), ("# the copyright of it\nx = f(c)\n",),
               "one line at a time", _LICENCE),
    PatternRow("permissive_licence", "licence", "a phrase of a permissive licence",
               r"(?i)SPDX-License-Identifier:[ \t]*(?:MIT|BSD|Apache|ISC|PSF|Unlicense)\S*"
               r"|Apache License|\bMIT License|\bBSD(?:[- ]\d-Clause)? License"
               r"|Permission is hereby granted, free of charge"
        r"|Permission to use, copy, modify,"
               r"|Redistribution and use in source and binary forms",
               ("# «SPDX-License-Identifier: MIT»\n", "the «Apache License», Version 2"),
               ("# GNU General Public License\n",), "a list of phrases", _LICENCE,
               mirrors=("copyleft_licence",)),
    PatternRow("copyleft_licence", "licence", "a phrase of a copyleft licence",
               r"(?i)SPDX-License-Identifier:[ \t]*(?:A?GPL|LGPL|MPL|EUPL|CC-BY-SA)\S*"
               r"|GNU (?:Affero |Lesser |Library )?(?:General )?Public License"
               r"|Mozilla Public License|\b[AL]?GPL(?:v[23])?\b",
               ("# «GNU Lesser General Public License»\n", "«GPLv3» or later"),
               ("# MIT License\n",), "a list of phrases", _LICENCE,
               mirrors=("permissive_licence",)),
    PatternRow("email_address", "personal data", "an e-mail address",
               r"(?<![\w.+-])[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",
               ("mail «ann.b@example.org» now",), ("@decorator\nx = a @ b.c", "git@host"),
               _FORM, _PERSON),
    PatternRow("phone_number", "personal data", "a telephone number with area code",
               r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(?\d{2,4}\)?[ .-]?){2,4}\d{2,4}"
               r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w])",
               ("call «+44 20 7946 0958»", "call «(555) 010-0199»"),
               ("x = 1234567890 + 12-34",), _FORM, _PERSON),
    PatternRow("ip_address", "personal data", "an IPv4 address",
               r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)",
               ("host = '«192.0.2.7»'",), ("version 1.2.3, 300.1.1.1, 1.2.3.4.5",),
               "four-part version numbers look the same", _PERSON, "address"),
    PatternRow("payment_card_number", "personal data", "13 to 16 digits with a valid check digit",
               r"(?<![\d.])(?:\d{4}[ -]){3}\d{4}(?!\d)|(?<![\w.])\d{13,16}(?![\w.])",
               ("pay with «4111 1111 1111 1111»",), ("pay with 4111 1111 1111 1112",),
               "one number in ten passes the check by chance", _PERSON, "luhn"),
    PatternRow("iban_number", "personal data", "an account number (IBAN) with valid check digits",
               r"\b[A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){3,7}(?: ?[0-9A-Z]{1,3})?\b",
               ("to «GB82 WEST 1234 5698 7654 32» please",), ("GB83 WEST 1234 5698 7654 32",),
               "one string in 97 passes the check by chance", _PERSON, "iban"),
    PatternRow("social_security_number", "personal data", "a US social security number, as written",
               r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])",
               ("ssn: «078-05-1120»",), ("on 2020-01-02, 000-12-3456",), _FORM, _PERSON),
    PatternRow("icd_code", "medical and legal", "a diagnosis code of ICD-10 with its subdivision",
               r"\b[A-TV-Z]\d[0-9AB]\.[0-9A-TV-Z]{1,4}\b",
               ("diagnosis «E11.9» and «I10.0»",), ("section A1.2 and version v10.3",),
               _CODE, _WORDS, mirrors=("legal_citation",)),
    PatternRow("dosage", "medical and legal", "an amount of a drug",
               r"\b\d+(?:\.\d+)? ?(?:mg|mcg|µg|mmol)(?:/(?:kg|day|d|h|l|dl|mL|dL|L))?\b",
               ("give «50 mg» or «2.5 mg/kg»",), ("in 50 ms, img 3",), _CODE, _WORDS),
    PatternRow("legal_citation", "medical and legal", "a citation of a law or a court's decision",
               r"\b\d+ (?:U\.S\.C\.|U\.S\.|F\.(?:2d|3d|Supp\.)|S\. ?Ct\.|C\.F\.R\.)"
               r"(?: §+)? ?\d+[\w.()-]*"
               r"|\b[Aa]rt(?:icle|\.) \d+(?:\(\d+\))? (?:GDPR|TFEU|ECHR)\b|§+ ?\d+[\w.]*",
               ("see «347 U.S. 483», «18 U.S.C. § 1030» and «Art. 6(1) GDPR»",),
               ("the U.S. has 50 states; article 6",), _CODE, _WORDS, mirrors=("icd_code",)),
)  # fmt: skip
